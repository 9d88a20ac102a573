# One item: $1 bytes of an exit record at most, $2 levels at most, then five times a base and a path below it.
max_manifest=$1 deepest=$2
shift 2

if [ -n "$2" ]; then
    if enter "$1" "$2"; then
        find . -maxdepth "$deepest" -type d ! \( -readable -executable \) -printf 'x %U %s %T@ %d %P\0' \
            -o -printf '%y %U %s %T@ %d %P\0' 2>/dev/null | head -c 67108864
    else
        refuse "$1" "$2"
    fi
fi
printf '\0.\0'
shift 2

for place in 1 2 3; do
    if [ -n "$2" ]; then
        split "$2"
        if enter "$1" "$folder"; then
            find "./$name" -maxdepth 0 -printf '%y %U %s %T@ %d %P\0' 2>/dev/null
        else
            refuse "$1" "$folder"
        fi
    fi
    printf '\0'
    shift 2
done

if [ -n "$2" ]; then
    split "$2"
    if enter "$1" "$folder"; then
        found=$(find "./$name" -maxdepth 0 -type f -user "$uid" -readable -size "-$((max_manifest + 1))c" \
            -printf '%s %T@' 2>/dev/null)
        if [ -n "$found" ]; then
            printf '=%s\0' "$found"
            pour "./$name" 0 "${found%% *}"
        fi
    fi
fi
printf '\0'
