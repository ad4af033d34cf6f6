# What guests need and the machine does not have as it is: a kernel with its modules, an initramfs,
# the two programs that carry commands, and the answer to whether KVM works here. Everything lies
# in $cache and is made once. Sourced by soft-roce/lab.
# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables

early_modules=(virtio_pci virtio_net virtio_console 9pnet_virtio 9p overlay)

need_programs() {
    local program
    for program in qemu-system-x86_64 busybox cpio gzip modprobe depmod rdma ip nft ndctl cc flock; do
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
        die "$status_broken" "linux-image-amd64: no such package known: run 'apt-get update' as root"
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

# The initramfs: busybox, guest/init, and the modules that lead to the host's root, in order.
build_initramfs() {
    local tree=$cache/initramfs.tree module path
    if [ "$cache/initramfs" -nt "$soft_roce/guest/init" ] &&
        [ "$cache/initramfs" -nt "$cache/kernel/.complete" ] &&
        [ "$cache/initramfs" -nt "$soft_roce/parts/prepare.sh" ]; then
        return
    fi
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,dev,proc,modules}
    cp "$(type -P busybox)" "$tree/bin/busybox"
    for module in sh mount umount mkdir insmod cat switch_root poweroff; do
        ln -s busybox "$tree/bin/$module"
    done
    cp "$soft_roce/guest/init" "$tree/init"
    for module in "${early_modules[@]}"; do
        modprobe -C /dev/null -d "$cache/kernel" -S "$(kernel_release)" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$tree/list"
    while read -r path; do
        cp "$path" "$tree/modules/"
        echo "${path##*/}"
    done <"$tree/list" >"$tree/modules/order"
    rm "$tree/list"
    (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$cache/initramfs.new"
    mv "$cache/initramfs.new" "$cache/initramfs"
    rm -rf "$tree"
}

build_programs() {
    local program source
    for program in agent call; do
        source=$soft_roce/guest/$program.c
        if [ "$cache/$program" -nt "$source" ] &&
            [ "$cache/$program" -nt "$soft_roce/guest/frame.h" ]; then
            continue
        fi
        cc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -I "$checkout" \
            -o "$cache/$program.new" "$source" || die "$status_broken" "$source does not compile"
        mv "$cache/$program.new" "$cache/$program"
    done
}

# Whether a kernel comes up under KVM. The device may be there and open, and yet be of no use, as
# with virtual machines inside virtual machines: so it is tried, once for each start of this host.
kvm_works() {
    local answer=$cache/kvm boot
    [ -w /dev/kvm ] || return 1
    boot=$(cat /proc/sys/kernel/random/boot_id)
    if [ "$(cut -d ' ' -f 1 "$answer" 2>/dev/null)" != "$boot" ]; then
        if timeout -s KILL 6 qemu-system-x86_64 -accel kvm -cpu max -machine q35 -m 512 \
            -display none -no-reboot -nodefaults -kernel "$cache"/kernel/boot/vmlinuz-* \
            -append 'panic=-1 quiet' </dev/null >/dev/null 2>&1; then
            echo "$boot yes" >"$answer"
        else
            echo "$boot no" >"$answer"
        fi
    fi
    [ "$(cut -d ' ' -f 2 "$answer")" = yes ]
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
    need_programs
    mkdir -p "$cache"
    exec {prepare_lock}>"$cache/lock"
    flock "$prepare_lock"
    fetch_kernel
    build_initramfs
    build_programs
    accel=$(accelerator)
    exec {prepare_lock}>&-
}
