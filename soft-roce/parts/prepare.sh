# What guests need and the machine does not have as it is: a kernel with its modules, an initramfs,
# the two programs that carry commands, and the answer to whether KVM works here. Everything lies
# in $cache and is made once. Sourced by soft-roce/lab.
# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables

early_modules=(virtio_pci virtio_net virtio_console 9pnet_virtio 9p overlay)
rdma_modules=(crc32_generic crc32c_generic rdma_rxe ib_uverbs rdma_ucm)
nvdimm_modules=(nfit nd_pmem dax_pmem device_dax)

# Paths travel on a kernel's command line and in QEMU's options.
need_plain_paths() {
    local path
    for path in "$checkout" "$cache" "$out"; do
        [[ ! $path =~ [[:space:],=] ]] ||
            die "$status_broken" "$path: no white space, ',' or '=' may be in this path"
    done
}

need_programs() {
    local program
    for program in qemu-system-x86_64 busybox cpio xz readelf modprobe depmod rdma ip nft ndctl \
        cc flock; do
        type -P "$program" >/dev/null ||
            die "$status_broken" "$program is not installed: run tools/install"
    done
}

# The package that the distribution's newest kernel of this architecture is in.
kernel_package() {
    local name
    name=$(apt-cache depends linux-image-amd64 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$name" ] ||
        die "$status_broken" "linux-image-amd64: no such package known:" \
            "run 'apt-get update' as root"
    echo "$name"
}

# Unpacks the kernel's package, without installing it, into $cache/kernel.
fetch_kernel() {
    local package folder=$cache/fetching
    [ -e "$cache/kernel/.complete" ] && return
    package=$(kernel_package)
    echo "lab: fetching $package, once" >&2
    rm -rf "$folder" "$cache/kernel"
    mkdir -p "$folder"
    (cd "$folder" && apt-get -q download "$package") >"$cache/fetch.log" 2>&1 ||
        die "$status_broken" "$package cannot be fetched: $(tail -n 1 "$cache/fetch.log")"
    dpkg -x "$folder"/*.deb "$folder/kernel"
    rm "$folder"/*.deb
    depmod -b "$folder/kernel" "$(ls "$folder/kernel/lib/modules")"
    touch "$folder/kernel/.complete"
    mv "$folder/kernel" "$cache/kernel"
    rmdir "$folder"
}

kernel_release() {
    ls "$cache/kernel/lib/modules"
}

# The kernel as it is, out of its compressed file: emulated, unpacking takes longer than the start.
# Where its payload lies is told by the head of the file (the kernel's x86 boot protocol).
unpack_kernel() {
    local image sectors offset bytes
    image=$(echo "$cache"/kernel/boot/vmlinuz-*)
    [ "$cache/vmlinux" -nt "$cache/kernel/.complete" ] && return
    sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$image")
    offset=$(od -An -tu4 -j $((0x248)) -N 4 "$image")
    bytes=$(od -An -tu4 -j $((0x24c)) -N 4 "$image")
    tail -c +$(((sectors + 1) * 512 + offset + 1)) "$image" | head -c $((bytes)) |
        xz -dc --single-stream >"$cache/vmlinux.new" || true # what follows the stream is its length
    readelf -h "$cache/vmlinux.new" >/dev/null 2>&1 ||
        die "$status_broken" "$image: no kernel compressed by xz in it"
    mv "$cache/vmlinux.new" "$cache/vmlinux"
}

# The files of modules and of all that they lean on, in order, each once.
module_files() { # MODULES...
    local module
    for module in "$@"; do
        modprobe -C /dev/null -d "$cache/kernel" -S "$(kernel_release)" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

add_modules() { # TREE LIST MODULES...
    local tree=$1 list=$2 path name
    shift 2
    module_files "$@" | while read -r path; do
        name=${path##*/}
        name=${name%.ko}
        name=${name//-/_}
        cp "$path" "$tree/modules/$name.ko"
        echo "$name"
    done >"$tree/modules/$list"
}

is_newer() { # FILE THAN...
    local file=$1 than
    shift
    for than in "$@"; do
        [ "$file" -nt "$than" ] || return 1
    done
}

# The initramfs: busybox, guest/init, the agent, and the modules by what they are for.
build_initramfs() {
    local tree=$cache/initramfs.tree name
    is_newer "$cache/initramfs" "$soft_roce/guest/init" "$cache/agent" "$cache/kernel/.complete" \
        "$soft_roce/parts/prepare.sh" && return
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,dev,proc,sys,modules}
    cp "$(type -P busybox)" "$tree/bin/busybox"
    for name in sh mount umount mkdir insmod cat cp ln chmod chroot ip hostname poweroff \
        switch_root; do
        ln -s busybox "$tree/bin/$name"
    done
    cp "$soft_roce/guest/init" "$tree/init"
    cp "$cache/agent" "$tree/bin/agent"
    add_modules "$tree" early "${early_modules[@]}"
    add_modules "$tree" rdma "${rdma_modules[@]}"
    add_modules "$tree" nvdimm "${nvdimm_modules[@]}"
    (cd "$tree" && find . | cpio -o -H newc --quiet) >"$cache/initramfs.new"
    mv "$cache/initramfs.new" "$cache/initramfs"
    rm -rf "$tree"
}

build_programs() {
    local program source
    for program in agent call; do
        source=$soft_roce/guest/$program.c
        is_newer "$cache/$program" "$source" "$soft_roce/guest/frame.h" && continue
        cc -static -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -I "$checkout" \
            -o "$cache/$program.new" "$source" || die "$status_broken" "$source does not compile"
        mv "$cache/$program.new" "$cache/$program"
    done
}

# Whether a kernel comes up under KVM. The device may be there and open, and yet be of no use, as
# with virtual machines inside virtual machines: so it is tried, once for each start of this host.
# If it is quick to find it of no use, that costs nothing; if it hangs, some seconds, once.
kvm_works() {
    local answer=$cache/kvm boot verdict=no
    [ -w /dev/kvm ] || return 1
    boot=$(cat /proc/sys/kernel/random/boot_id)
    if [ "$(cut -d ' ' -f 1 "$answer" 2>/dev/null)" = "$boot" ]; then
        verdict=$(cut -d ' ' -f 2 "$answer")
    else
        ! timeout -s KILL 6 qemu-system-x86_64 -accel kvm -cpu max -machine q35 -m 512 \
            -display none -no-reboot -nodefaults -kernel "$cache/vmlinux" \
            -append 'panic=-1 quiet' </dev/null >/dev/null 2>&1 || verdict=yes
        [ ! -w "$cache" ] || echo "$boot $verdict" >"$answer"
    fi
    [ "$verdict" = yes ]
}

accelerator() {
    case ${LKS_LAB_ACCEL:-} in
    '') ;;
    kvm | tcg)
        echo "$LKS_LAB_ACCEL"
        return
        ;;
    *) die "$status_usage" "LKS_LAB_ACCEL=$LKS_LAB_ACCEL: not one of kvm, tcg" ;;
    esac
    if kvm_works; then echo kvm; else echo tcg; fi
}

prepare() {
    need_plain_paths
    need_programs
    mkdir -p "$cache"
    # Who must not write there can use what is complete.
    exec {prepare_lock}>>"$([ -w "$cache" ] && echo "$cache/lock" || echo /dev/null)"
    flock "$prepare_lock"
    fetch_kernel
    unpack_kernel
    build_programs
    build_initramfs
    accel=$(accelerator)
    exec {prepare_lock}>&-
}
