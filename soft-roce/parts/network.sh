# The wire between guests: a bridge in the lab's network namespace, a tap for each guest, and the
# host's own address on it. Partitions are filters on the bridge. Sourced by soft-roce/lab; runs in
# the supervisor.
# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables

make_network() {
    ip link set lo up
    ip link add lab type bridge
    ip address add 10.77.0.254/24 dev lab
    ip link set lab up
    nft add table bridge lab
    nft add chain bridge lab between '{ type filter hook forward priority 0; }'
}

make_tap() { # N
    ip tuntap add "tap$1" mode tap
    ip link set "tap$1" master lab up
}

part() { # A B
    nft add rule bridge lab between iifname "tap$1" oifname "tap$2" drop
    nft add rule bridge lab between iifname "tap$2" oifname "tap$1" drop
}

heal() {
    nft flush chain bridge lab between
}
