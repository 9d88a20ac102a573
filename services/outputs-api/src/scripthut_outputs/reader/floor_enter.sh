# Shared by both programs of the floor: go to a directory, say why not, pour a file's bytes.
uid=$(id -u)

# enter BASE PATH: BASE may lie behind symlinks, nothing below it: where we are then is asked of the kernel.
enter() {
    cd -P -- "$1" 2>/dev/null || return 1
    real=$(pwd -P; echo x)
    real=${real%?x}
    [ "$real" != / ] || real=
    [ -n "$2" ] || return 0
    cd -P -- "$real/$2" 2>/dev/null || return 1
    now=$(pwd -P; echo x)
    [ "${now%?x}" = "$real/$2" ]
}

# refuse BASE PATH: print why it cannot be entered, as the strict reader's number: missing, unreadable, no directory.
refuse() {
    at=$1 rest=$2/ is_ours=
    while :; do
        if [ -n "$is_ours" ] && [ -L "$at" ]; then printf '!1\0'; return; fi
        case $(ls -d -- "$at/." 2>&1 >/dev/null) in
            '') ;;
            *': No such file or directory') printf '!5\0'; return ;;
            *': Permission denied') printf '!3\0'; return ;;
            *) printf '!1\0'; return ;;
        esac
        [ -n "$rest" ] && [ "$rest" != / ] || { printf '!1\0'; return; }
        at=$at/${rest%%/*} rest=${rest#*/} is_ours=1
    done
}

# split PATH: its directory and its name.
split() {
    name=${1##*/} folder=
    case $1 in */*) folder=${1%/*} ;; esac
}

# pour FILE SKIP COUNT: exactly so many bytes, zeros where the file has fewer.
pour() {
    {
        dd if="$1" bs=65536 skip="$2" count="$3" iflag=nofollow,nonblock,skip_bytes,count_bytes,fullblock 2>/dev/null
        head -c "$3" /dev/zero
    } | head -c "$3"
}
