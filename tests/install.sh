#!/bin/sh
# SPDX-License-Identifier: MIT
# `make install` right after `make`: everything is there, and programs build against it and talk to each other.
set -u
cd "$SOURCE" || exit 1
work=$(mktemp -d) || exit 1
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
server=
status=0

verdict() { # name, exit status, why
    if [ "$2" -eq 0 ]; then
        echo "ok install.$1"
    else
        echo "not ok install.$1 # $3"
        status=1
    fi
}

make install DESTDIR="$work/root" PREFIX=/opt/telex >"$work/log" 2>&1
result=$?
[ $result -eq 0 ] || cat "$work/log"
verdict make $result "make install failed"
meson configure build -Dprefix=/usr/local && ninja -C build >/dev/null # as it was

root=$work/root/opt/telex
library=$(dirname "$(find "$root" -name libtelex.so.0)")
missing=
for file in "$root/include/telex/telex.h" "$root/bin/telex" "$root/share/man/man1/telex.1" "$root/share/man/man1/telex-serve.1" "$root/share/man/man3/telex.3" \
    "$root/share/bash-completion/completions/telex" \
    "$library/libtelex.a" "$library/libtelex.so" "$library/libtelex.so.0" "$library/pkgconfig/telex.pc"; do
    [ -e "$file" ] || missing="$missing ${file#"$work/root"}"
done
[ -z "$missing" ]
verdict files $? "missing:$missing"

"$root/bin/telex" --version >/dev/null
verdict command $? "the installed command does not run"

export PKG_CONFIG_PATH="$library/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$work/root"
built=0
for program in hello_client hello_server; do
    # shellcheck disable=SC2046 # a list of words
    cc -o "$work/$program" "examples/$program.c" $(pkg-config --cflags --libs telex) || built=1
done
verdict builds $built "an example does not build against the installed library"

export LD_LIBRARY_PATH="$library"
"$work/hello_server" "unix://$work/hello" &
server=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -S "$work/hello" ] && break
    sleep 0.1
done
said=$("$work/hello_client" "unix://$work/hello")
[ "$said" = "hello, world" ]
verdict talks $? "the client got '$said'"

exit $status
