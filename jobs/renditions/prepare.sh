#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# prepare.sh [FOLDER...]: lays out pictures as $MAYFLY_PREPARED/parts/PICTURE.PART, a file for each part that is to be
# made of it (one copy, linked). Without arguments the pictures are those of two Debian packages; else all .jpg, .jpeg
# and .png files of the folders. Whole or not at all: a half-written tree never bears the final name.
set -eu
export LC_ALL=C

packages='lomiri-wallpapers-16.04 sway-backgrounds'

fail() {
    echo "prepare.sh: $*" >&2
    exit 1
}

# The pictures of a package, one a line (paths of Debian packages have no line ends).
list_package() { # PACKAGE
    status=$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) || status=
    [ "$status" = installed ] ||
        fail "the package $1, whose pictures this job uses, is not installed; run './setup.sh deps pictures' or" \
            "'apt-get install $1', or name folders of your own (see README.md)"
    dpkg-query -L "$1" | grep -E '\.(jpe?g|png)$' || fail "the package $1 has no pictures"
}

take() { # PICTURE
    name=${1##*/}
    [ -f "$1" ] || fail "$1 is not there, or is no file"
    [ ! -e "$tree/$name.large" ] || fail "two pictures are called $name; give them different names"
    cp -- "$1" "$tree/$name.large" || fail "cannot copy $1"
    for part in medium small metadata; do
        ln -- "$tree/$name.large" "$tree/$name.$part" || fail "cannot link $name"
    done
    count=$((count + 1))
}

take_folder() { # FOLDER
    [ -d "$1" ] || fail "$1 is not a folder"
    before=$count
    for picture in "$1"/*.jpg "$1"/*.jpeg "$1"/*.png; do
        [ ! -e "$picture" ] || take "$picture"
    done
    [ "$count" -gt "$before" ] || fail "no .jpg, .jpeg or .png files in $1"
}

take_packages() {
    lists=$(for package in $packages; do list_package "$package" || exit 1; done) || exit 1
    while read -r picture; do
        take "$picture"
    done <<END
$lists
END
}

[ -n "${MAYFLY_PREPARED:-}" ] || fail "MAYFLY_PREPARED is not set; run this by 'mayfly run job.yaml'"
tree=$MAYFLY_PREPARED/parts.part
count=0
mkdir -p "$tree"
[ $# -gt 0 ] || take_packages
for folder in "$@"; do
    take_folder "$folder"
done
mv "$tree" "$MAYFLY_PREPARED/parts"
echo "prepare.sh: $count pictures" >&2
