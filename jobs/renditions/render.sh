#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# render.sh .../PICTURE.PART: makes one part of the picture on standard input, as renditions/PICTURE/PART.*, and prints
# a CSV row about it. Part metadata always gives a row, without a size when the file is no picture; the other parts
# end with 65 then. The same bytes wherever the same packages are: one thread, a filter of plain arithmetic (the C
# library has sines of its own for each processor), nothing of the clock or the file's name.
set -eu

name=${1##*/} # the folder may be another one on another host
picture=${name%.*}
part=${name##*.}

fail() { # CODE MESSAGE
    echo "render.sh: $picture: $2" >&2
    exit "$1"
}

for program in convert identify; do
    command -v $program >/dev/null || fail 69 "$program is missing on $(uname -n); install the package imagemagick"
done

case $picture in
*.jpg | *.jpeg) format=jpeg suffix=jpg ;;
*.png) format=png suffix=png ;;
*) fail 65 "expected a name that ends in .jpg, .jpeg or .png" ;;
esac
case $part in
large) box=1600 ;;
medium) box=800 ;;
small) box=200 ;;
metadata) suffix=json ;;
*) fail 65 "there is no part '$part'" ;;
esac

# The decoder is named, so that the picture's bytes can't choose another one. A warning is a broken picture.
render() {
    convert -regard-warnings "$format:original" \
        -filter Mitchell -resize "${box}x$box>" -auto-orient -strip -interlace none \
        -sampling-factor 4:2:0 -quality 85 \
        -define png:compression-level=6 -define png:compression-filter=5 -define png:compression-strategy=0 \
        -define png:exclude-chunks=date,time "$format:$out"
}

# "FORMAT,WIDTH,HEIGHT"
measure() { # FILE
    identify -regard-warnings -format '%m,%w,%h' "$format:$1"
}

describe() {
    size=$(measure original) || size=,,
    {
        printf '{"bytes": %s, "sha256": "%s"' "$bytes" "$sha256"
        [ "$size" = ,, ] ||
            identify -format ', "format": "%m", "width": %w, "height": %h, "depth": %z, "colorspace": "%[colorspace]"' \
                "$format:original"
        echo '}'
    } >"$out"
}

weigh() { # FILE
    bytes=$(wc -c <"$1")
    sha256=$(sha256sum <"$1")
    sha256=${sha256%% *}
}

cat >original
out=renditions/$picture/$part.$suffix
mkdir -p "renditions/$picture"
if [ "$part" = metadata ]; then
    weigh original
    describe
else
    status=0
    render || status=$?
    [ "$status" -ne 1 ] || fail 65 "this is no whole $format picture"
    [ "$status" -eq 0 ] || fail "$status" "convert ended with exit code $status"
    size=$(measure "$out")
    weigh "$out"
fi
echo picture,part,format,width,height,bytes,sha256
printf '"%s",%s,%s,%s,%s\n' "$(printf %s "$picture" | sed 's/"/""/g')" "$part" "$size" "$bytes" "$sha256"
