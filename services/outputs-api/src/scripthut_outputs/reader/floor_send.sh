# Files of one directory: $1 `files` or `tail`, $2 bytes of one at most, $3 base, $4 directory, then names after `./`.
kind=$1 limit=$2 base=$3 folder=$4
shift 4

if ! enter "$base" "$folder"; then
    refuse "$base" "$folder"
    exit 0
fi
printf '+\0'
if [ "$kind" = files ]; then
    find "$@" -maxdepth 0 -type f -readable -size "-$((limit + 1))c" -print0 2>/dev/null |
        tar --create --file=- --format=posix --hard-dereference --no-recursion --numeric-owner --no-unquote \
            --null --files-from=- 2>/dev/null
else
    found=$(find "$1" -maxdepth 0 -type f -user "$uid" -readable -printf '%s %T@' 2>/dev/null)
    if [ -n "$found" ]; then
        size=${found%% *} skip=0
        [ "$size" -le "$limit" ] || skip=$((size - limit))
        printf '=%s\0' "$found"
        pour "$1" "$skip" "$((size - skip))"
    else
        printf '\0'
    fi
fi
find "$@" -maxdepth 0 ! -readable -printf '%y %U %s %T@ %C@ u %p\0' -o -printf '%y %U %s %T@ %C@ r %p\0' 2>/dev/null
printf '\0'
exit 0
