#!/bin/sh
# Run a command in a file system that has a folder as /kaggle, with its input read-only, and without a network.
# Run within new mount and network namespaces:
#   sandbox.sh KAGGLE ROOT READ_ONLY HIDDEN COMMAND [ARGS]
# KAGGLE becomes /kaggle, ROOT is an empty folder, READ_ONLY is a folder that the command cannot write, and HIDDEN are
# folders, separated by colons, that it finds empty.
set -e
kaggle=$1 root=$2 read_only=$3 hidden=$4
shift 4
mount -t tmpfs none "$root"
for entry in /*; do
    if [ -L "$entry" ]; then
        cp -P "$entry" "$root$entry"
    elif [ -d "$entry" ] && [ "$entry" != /kaggle ]; then
        mkdir "$root$entry"
        mount --rbind "$entry" "$root$entry"
    fi
done
mkdir "$root/kaggle"
mount --bind "$kaggle" "$root/kaggle"
mount --bind "$kaggle/input" "$root/kaggle/input"
mount -o remount,bind,ro "$root/kaggle/input"
mount --bind "$read_only" "$root$read_only"
mount -o remount,bind,ro "$root$read_only"
IFS=:
for folder in $hidden; do
    mount -t tmpfs none "$root$folder"
done
unset IFS
exec chroot "$root" "$@"
