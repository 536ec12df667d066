#!/bin/sh
# install.sh install|uninstall: called by the Makefile, which sets PREFIX, BUILD,
# VERSION, SOVERSION and LIBS or (to uninstall) TOOLS. DESTDIR is put before every path, but
# is no part of what the pkg-config file says.
set -eu

root=${DESTDIR:-}$PREFIX
bin=$root/bin lib=$root/lib include=$root/include pc=$root/lib/pkgconfig share=$root/share/pipebd
shared=libpipebd.so

put_all() {
    install -d "$bin" "$lib" "$include" "$pc"
    for tool in "$BUILD"/bin/pipebd-*; do
        if [ -f "$tool" ]; then install -m 755 "$tool" "$bin/"; fi
    done
    install -m 644 "$BUILD/lib/libpipebd.a" "$lib/"
    install -m 755 "$BUILD/lib/$shared" "$lib/$shared.$VERSION"
    ln -sf "$shared.$VERSION" "$lib/$shared.$SOVERSION"
    ln -sf "$shared.$SOVERSION" "$lib/$shared"
    install -m 644 include/pipebd.h "$include/"
    install -d "$share/workloads" "$share/traces/devices"
    install -m 644 workloads/*.json workloads/*.safetensors "$share/workloads/"
    install -m 644 traces/devices/*.json "$share/traces/devices/"
    cat > "$pc/pipebd.pc" <<END
prefix=$PREFIX
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: pipebd
Description: Planner and simulator of blockwise distillation schedules
Version: $VERSION
Libs: -L\${libdir} -lpipebd
Libs.private: $LIBS -pthread
Cflags: -I\${includedir}
END
    chmod 644 "$pc/pipebd.pc"
    echo "Installed into $root."
}

remove_all() {
    for tool in ${TOOLS:-}; do rm -f "$bin/$tool"; done
    rm -f "$lib/libpipebd.a" "$lib/$shared" "$lib/$shared.$SOVERSION" "$lib/$shared.$VERSION" \
        "$include/pipebd.h" "$pc/pipebd.pc"
    rm -f "$share"/workloads/*.json "$share"/workloads/*.safetensors "$share"/traces/devices/*.json
    rmdir "$share/workloads" "$share/traces/devices" "$share/traces" "$share" 2>/dev/null || true
    echo "Removed from $root."
}

case ${1:-} in
install)   put_all ;;
uninstall) remove_all ;;
*) echo 'usage: make install | make uninstall' >&2; exit 2 ;;
esac
