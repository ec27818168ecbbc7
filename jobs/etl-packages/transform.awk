# SPDX-License-Identifier: Apache-2.0
# Paragraphs of a Debian package index on standard input; one CSV row (RFC 4180) a package on standard
# output. Plain POSIX awk: Debian's default is mawk. Run with LC_ALL=C, so that characters are bytes.
#
# A field may go on over several lines: each further one begins with a blank. Field names are
# case-insensitive. A paragraph without a package's name is not a package and is left out.

BEGIN {
    print "name,version,version_order,section,installed_kib,download_bytes,maintainer,dependencies"
}

function quoted(text) {
    gsub(/"/, "\"\"", text)
    return "\"" text "\""
}

function digits_only(text) {
    return text ~ /^[0-9]+$/ ? text : 0
}

# One part of a version (upstream or revision) as text whose byte order is dpkg's order: runs of
# non-digits and of digits alternate; "~" sorts before the end, the end before letters, letters before
# the rest; numbers compare by value, so they are led by their length.
function part_order(part,    order, c, run) {
    order = ""
    do {
        while (part != "" && part !~ /^[0-9]/) {
            c = substr(part, 1, 1)
            part = substr(part, 2)
            order = order (c == "~" ? "0" : (c ~ /[A-Za-z]/ ? "2" c : "3" c))
        }
        run = part
        sub(/[^0-9].*$/, "", run)
        part = substr(part, length(run) + 1)
        sub(/^0+/, "", run)
        order = order sprintf("1%02d%s", length(run), run)
    } while (part != "")
    return order "1"
}

# [epoch:]upstream[-revision]; no epoch is epoch 0, no revision is revision 0.
function version_order(version,    epoch, upstream, revision, at) {
    epoch = "0"
    at = index(version, ":")
    if (at > 0) {
        epoch = substr(version, 1, at - 1)
        version = substr(version, at + 1)
    }
    upstream = version
    revision = ""
    if (match(version, /-[^-]*$/)) {
        upstream = substr(version, 1, RSTART - 1)
        revision = substr(version, RSTART + 1)
    }
    return part_order(epoch) part_order(upstream) part_order(revision)
}

# A relationship field as a JSON array of package names, each once, in the order they stand. Versions and
# architectures are dropped ("libc6 (>= 2.34) [amd64]", "python3:any"); of alternatives ("a | b") the first
# counts, which is the one that apt prefers.
function name_list(relations,    count, groups, i, name, list, seen) {
    list = ""
    count = split(relations, groups, ",")
    for (i = 1; i <= count; i++) {
        name = groups[i]
        sub(/\|.*/, "", name)
        sub(/[(\[<:].*/, "", name)
        gsub(/[ \t]/, "", name)
        if (name == "" || (name in seen))
            continue
        seen[name] = 1
        list = list (list == "" ? "" : ",") "\"" name "\""
    }
    return "[" list "]"
}

function finish_package(    section) {
    if (value["package"] != "") {
        section = value["section"] != "" ? value["section"] : "unknown"
        print quoted(value["package"]) "," quoted(value["version"]) "," \
            quoted(version_order(value["version"])) "," quoted(section) "," \
            digits_only(value["installed-size"]) "," digits_only(value["size"]) "," \
            quoted(value["maintainer"]) "," quoted(name_list(value["pre-depends"] "," value["depends"]))
    }
    split("", value)
    field = ""
}

{ sub(/\r$/, "") }

/^[ \t]*$/ {
    finish_package()
    next
}

/^[ \t]/ {
    if (field != "") {
        sub(/^[ \t]+/, "")
        value[field] = value[field] " " $0
    }
    next
}

{
    colon = index($0, ":")
    field = tolower(substr($0, 1, colon > 0 ? colon - 1 : 0))
    if (field !~ /^(package|version|section|installed-size|size|maintainer|depends|pre-depends)$/) {
        field = ""
        next
    }
    text = substr($0, colon + 1)
    sub(/^[ \t]+/, "", text)
    sub(/[ \t]+$/, "", text)
    value[field] = text
}

END { finish_package() }
