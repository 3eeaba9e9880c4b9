#!/bin/sh
# Run a command in a file system that has a folder as /kaggle, with its input read-only, and without a network.
# Run within new mount and network namespaces:
#   sandbox.sh KAGGLE ROOT HIDDEN COMMAND [ARGS]
# KAGGLE becomes /kaggle, ROOT is an empty folder, and HIDDEN is a folder that the command finds empty.
set -e
kaggle=$1 root=$2 hidden=$3
shift 3
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
mount -t tmpfs none "$root$hidden"
exec chroot "$root" "$@"
