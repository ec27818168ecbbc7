#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# jobs/renditions: the same bytes in the result and in every rendition whatever the number of workers, and a broken
# picture makes that picture, and no other, not ready.
. "$(dirname "$0")/lib.sh"
SOURCE=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
PHOTOS=/usr/share/backgrounds
DRAWINGS=/usr/share/backgrounds/sway

need_pictures() {
    local package
    for package in imagemagick lomiri-wallpapers-16.04 sway-backgrounds; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            skip "$package is not installed: run './setup.sh deps pictures'"
    done
}

render() { # [ARGUMENT...]
    mayfly run "$SOURCE/jobs/renditions/job.yaml" "$@"
    find_run
    assert_exit 0
    assert_nothing_left "$RUN_ID"
}

# Of some pictures: the whole set takes long.
render_own() { # [ARGUMENT...]
    render --set "prepare=[./prepare.sh, \"$PWD/pictures\"]" "$@"
}

# Every file of the run's outputs with its checksum.
list_outputs() {
    (cd "$RUN/outputs" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

case_one_and_two_workers_give_the_same_bytes() {
    local workers
    need_pictures
    mkdir pictures
    cp "$PHOTOS/Picture_1A_by_freespace.jpg" "$PHOTOS/Wine_by_Jakkub_Mede.jpg" \
        "$DRAWINGS/Sway_Wallpaper_Blue_768x1024_Portrait.png" pictures
    for workers in 1 2; do
        render_own --set workers.count="$workers" --set workers.slots=1
        assert_equal "$(counts)" "12 0 0 0"
        assert_equal "$(summary .workers.launched)" "$workers" "workers launched"
        cp "$RUN/result" "result.$workers"
        list_outputs >"outputs.$workers"
    done
    assert_same result.2 result.1
    assert_same outputs.2 outputs.1
    assert_equal "$(wc -l <outputs.1)" 12
    cut -d, -f1-7,9 result.1 >columns
    assert_same columns - <<'END'
picture,format,width,height,large,medium,small,ready
Picture_1A_by_freespace.jpg,JPEG,1365,1074,1365x1074,800x629,200x157,1
Sway_Wallpaper_Blue_768x1024_Portrait.png,PNG,768,1024,768x1024,600x800,150x200,1
Wine_by_Jakkub_Mede.jpg,JPEG,2560,3837,1068x1600,534x800,133x200,1
END
}

case_what_is_said_of_a_rendition_is_true() {
    local picture part format width height bytes sha256 file
    need_pictures
    mkdir pictures
    cp "$DRAWINGS/Sway_Wallpaper_Blue_1136x640.png" 'pictures/a, "b".png'
    cp "$PHOTOS/Picture_1A_by_freespace.jpg" pictures/-c.jpg
    render_own
    assert_equal "$(query "select count(*) from result where text like '%a, \"\"b\"\".png%'")" 4
    query "select rtrim(substr(text, instr(text, char(10)) + 1), char(10)) from result where text like '%\"-c.jpg\"%'" |
        tr -d '"' >rows
    assert_equal "$(wc -l <rows)" 4
    while IFS=, read -r picture part format width height bytes sha256; do
        file=pictures/$picture
        if [ "$part" != metadata ]; then
            file=$(find "$RUN/outputs" -path "*/renditions/$picture/$part.jpg")
        fi
        assert_equal "$(identify -format '%m,%w,%h' "$file")" "$format,$width,$height" "$part"
        assert_equal "$(wc -c <"$file")" "$bytes" "$part"
        assert_equal "$(sha256sum <"$file")" "$sha256  -" "$part"
    done <rows
    assert_equal "$(jq -c '[.format, .width, .height, .bytes]' "$RUN"/outputs/0/*/renditions/-c.jpg/metadata.json)" \
        "$(jq -Rnc "[\"JPEG\", 1365, 1074, $(wc -c <pictures/-c.jpg)]")"
}

case_a_broken_picture_alone_is_not_ready() {
    need_pictures
    mkdir pictures
    cp "$PHOTOS/Picture_1A_by_freespace.jpg" "$DRAWINGS/Sway_Wallpaper_Blue_768x1024.png" pictures
    head -c 100000 "$PHOTOS/Wine_by_Jakkub_Mede.jpg" >pictures/cut.jpg
    echo 'no picture' >pictures/text.png
    render_own --set tolerate=6
    assert_equal "$(counts)" "10 6 0 0"
    assert_equal "$(summary .state)" partial
    assert_equal "$(query "select group_concat(distinct exit_code) from attempt where state = 'failed'")" 65
    cut -d, -f1,2,9 "$RUN/result" >columns
    assert_same columns - <<'END'
picture,format,ready
Picture_1A_by_freespace.jpg,JPEG,1
Sway_Wallpaper_Blue_768x1024.png,PNG,1
cut.jpg,,0
text.png,,0
END
}

case_the_packages_have_23_pictures() {
    need_pictures
    mkdir prepared
    MAYFLY_PREPARED=$PWD/prepared "$SOURCE/jobs/renditions/prepare.sh" 2>err || fail "$(cat err)"
    assert_contains err "23 pictures"
    assert_equal "$(find prepared/parts -type f | wc -l)" 92
    assert_equal "$(find prepared/parts -type f -printf '%i\n' | sort -u | wc -l)" 23 "files that are stored"
    assert_no_file prepared/parts.part
}

# prepare.sh on its own fails and leaves no finished tree.
refused() { # WANTED ARGUMENT...
    local wanted=$1
    shift
    rm -rf prepared
    mkdir prepared
    CODE=0
    MAYFLY_PREPARED=$PWD/prepared PATH=$PWD/bin:$PATH "$SOURCE/jobs/renditions/prepare.sh" "$@" 2>err || CODE=$?
    assert_equal "$CODE" 1
    assert_contains err "$wanted"
    assert_no_file prepared/parts
}

case_what_prepare_refuses() {
    mkdir bin empty one two
    touch one/a.png two/a.png
    refused "$PWD/none is not a folder" "$PWD/none"
    refused "no .jpg, .jpeg or .png files in $PWD/empty" "$PWD/one" "$PWD/empty"
    refused "two pictures are called a.png" "$PWD/one" "$PWD/two"
    printf '#!/bin/sh\nexit 1\n' >bin/dpkg-query # knows no package
    chmod +x bin/dpkg-query
    refused "the package lomiri-wallpapers-16.04, whose pictures this job uses, is not installed"
}

case_a_host_without_imagemagick_is_named() {
    mkdir bin
    ln -s /usr/bin/uname bin
    CODE=0
    PATH=$PWD/bin /bin/sh "$SOURCE/jobs/renditions/render.sh" x/a.png.large 2>err </dev/null || CODE=$?
    assert_equal "$CODE" 69
    assert_contains err "convert is missing on $(uname -n); install the package imagemagick"
}

run_cases "$@"
