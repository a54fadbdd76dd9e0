#!/bin/busybox sh
# shellcheck shell=dash
# Runs as the first process of the virtual machine that run.sh starts.
/bin/busybox --install -s /bin
export PATH=/bin:/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
cd /tmp || exit

failed=0
# check WHAT EXPECTED FOUND
check() {
    if [ "$2" = "$3" ]; then
        echo "ok      $1"
    else
        echo "FAILED  $1: expected '$2', found '$3'"
        failed=$((failed + 1))
    fi
}

# Lines for a configuration file named after the test.
config() {
    cat >"$1"
}

ours() {
    program=$1
    shift
    "/ours/$program" "$@"
}

theirs() {
    program=$1
    shift
    "/usr/bin/$program" "$@"
}

# Writes the environment of configuration $1 in turn with each of the programs in $2, and lets those
# in $3 read each time.
in_turn() {
    ours fw_setenv -c "$1" -f default turn 0 2>/dev/null
    check "$1: a first environment" 0 $?
    turn=0
    for writer in $2; do
        turn=$((turn + 1))
        "$writer" fw_setenv -c "$1" turn $turn
        check "$1: written by $writer" 0 $?
        for reader in $3; do
            check "$1: read by $reader" "bootcmd=boot turn=$turn" \
                "$($reader fw_printenv -c "$1" 2>&1 | tr '\n' ' ' | sed 's/ $//')"
        done
    done
}

everybody="ours theirs"
six_turns="theirs ours ours theirs theirs ours"
echo "bootcmd=boot" >default

# First byte after an offset of a device, in hexadecimal.
byte_at() {
    dd if="$1" bs=1 skip=$(($2)) count=1 2>/dev/null | od -An -tx1 | tr -d ' '
}

nand() {
    # 256 MiB in blocks of 128 KiB and pages of 2 KiB. Each partition has 16 blocks.
    modprobe nandsim first_id_byte=0x20 second_id_byte=0xaa third_id_byte=0x00 fourth_id_byte=0x15 \
        parts=16,16,16,64 badblocks=0,5,16,17,18,19,32
    check "nandsim is there" 4 "$(cat /sys/class/mtd/mtd[0-3]/type | grep -c nand)"

    config nand-skips-bad-blocks <<END
/dev/mtd0 0x0 0x20000 0x20000 4
/dev/mtd0 0x80000 0x20000 0x20000 4
END
    in_turn nand-skips-bad-blocks "$six_turns" "$everybody"

    config nand-two-blocks-each <<END
/dev/mtd0 0x0 0x40000 0x20000 4
/dev/mtd0 0x80000 0x40000 0x20000 4
END
    dd if=/dev/zero bs=128k count=1 2>/dev/null | tr '\0' x >neighbour
    in_turn nand-two-blocks-each "$six_turns" "$everybody"

    config nand-sector-size-from-device <<END
/dev/mtd0 0x100000 0x4000
/dev/mtd0 0x120000 0x4000
END
    in_turn nand-sector-size-from-device "$six_turns" "$everybody"

    # All four blocks of the first copy are bad: the second one has to do.
    config nand-one-copy-impossible <<END
/dev/mtd1 0x0 0x20000 0x20000 4
/dev/mtd1 0x80000 0x20000 0x20000 4
END
    ours fw_setenv -c nand-one-copy-impossible -f default a 1 2>/dev/null
    check "nand-one-copy-impossible: the other one is written" 0 $?
    ours fw_setenv -c nand-one-copy-impossible a 2 2>/dev/null
    check "nand-one-copy-impossible: no second write" 255 $?
    check "nand-one-copy-impossible: the other one is read" "a=1" \
        "$(ours fw_printenv -c nand-one-copy-impossible a 2>/dev/null)"

    # One of two blocks is bad, and there may be no third. libubootenv takes one.
    config nand-within-its-limit <<END
/dev/mtd2 0x0 0x40000 0x20000 2
END
    ours fw_setenv -c nand-within-its-limit -f default a 1 2>/dev/null
    check "nand-within-its-limit: we refuse" 255 $?
    check "nand-within-its-limit: the third block is erased" ff "$(byte_at /dev/mtd2 0x40000)"
    theirs fw_setenv -c nand-within-its-limit -f default a 1 2>/dev/null
    check "nand-within-its-limit: libubootenv uses the third block" 0 \
        "$([ "$(byte_at /dev/mtd2 0x40000)" = ff ]; echo $((1 - $?)))"

    config nand-not-on-a-block <<END
/dev/mtd2 0x104000 0x4000 0x20000 2
END
    ours fw_setenv -c nand-not-on-a-block -f default a 1 2>message
    check "nand-not-on-a-block: refused" 255 $?
    check "nand-not-on-a-block: and why" 1 "$(grep -c 'begin with an erase block' message)"

    config nand-copies-in-one-block <<END
/dev/mtd2 0x100000 0x4000
/dev/mtd2 0x104000 0x4000
END
    ours fw_setenv -c nand-copies-in-one-block -f default a 1 2>/dev/null
    check "nand-copies-in-one-block: refused" 234 $?
}

ubi() {
    modprobe ubi
    ubiattach -m 3 >/dev/null
    ubimkvol /dev/ubi0 -N other -S 1 >/dev/null
    ubimkvol /dev/ubi0 -N env -s 126976 >/dev/null
    ubimkvol /dev/ubi0 -N redund -s 126976 >/dev/null
    check "UBI volumes are there" 3 "$(cat /sys/class/ubi/ubi0/volumes_count)"

    config ubi-by-number <<END
/dev/ubi0_1 0 0x1f000 0x1f000
/dev/ubi0_2 0 0x1f000 0x1f000
END
    in_turn ubi-by-number "$six_turns" "$everybody"

    config ubi-by-name <<END
/dev/ubi0:env 0 0x4000
/dev/ubi0:redund 0 0x4000
END
    in_turn ubi-by-name "$six_turns" "$everybody"

    config ubi-by-flash-and-name <<END
/dev/mtd3:env 0 0x4000
/dev/mtd3:redund 0 0x4000
END
    # 0.3.2 of libubootenv does not know this form.
    in_turn ubi-by-flash-and-name "ours ours ours" "ours"
    check "ubi-by-flash-and-name: it is the same environment" "turn=3" \
        "$(theirs fw_printenv -c ubi-by-name turn)"

    # A power cut during an update leaves a volume that cannot be read.
    for volume in 1 2; do
        ours fw_setenv -c ubi-by-name cut $volume
        ours fw_setenv -c ubi-by-name again $volume
        head -c 1000 default | ubiupdatevol /dev/ubi0_$volume -s 126976 - >/dev/null 2>&1
        check "ubi-cut-update: volume $volume is marked" 1 "$(cat /sys/class/ubi/ubi0_$volume/upd_marker)"
        check "ubi-cut-update: the other volume is read" "cut=$volume" \
            "$(ours fw_printenv -c ubi-by-name cut 2>/dev/null)"
        ours fw_setenv -c ubi-by-name healed $volume 2>/dev/null
        check "ubi-cut-update: healed" 0 $?
        check "ubi-cut-update: both are good again" "healed=$volume" \
            "$(theirs fw_printenv -c ubi-by-name healed)"
    done

    ours fw_setenv -c ubi-by-name detached yes
    ubidetach -d 0
    check "ubi-attached-by-us: before" 0 "$(find /sys/class/ubi -name 'ubi0' | grep -c .)"
    check "ubi-attached-by-us: read" "detached=yes" \
        "$(ours fw_printenv -c ubi-by-flash-and-name detached)"

    config ubi-no-such-volume <<END
/dev/ubi0:nosuch 0 0x4000
END
    ours fw_printenv -c ubi-no-such-volume 2>/dev/null
    check "ubi-no-such-volume: refused" 234 $?
    config ubi-too-small <<END
/dev/ubi0:env 0 0x3f000
END
    ours fw_setenv -c ubi-too-small -f default a 1 2>/dev/null
    check "ubi-too-small: refused" 255 $?
}

# The SPI flash that the board boots from. (Its write protection is not tried: the status register of
# QEMU's chips does not keep what the kernel writes to it.)
nor() {
    modprobe spi_nor
    modprobe spi_aspeed_smc
    mtd=/dev/mtd0
    class=/sys/class/mtd/mtd0
    check "NOR is there" nor "$(cat $class/type)"
    block=$(cat $class/erasesize)

    config nor-whole-blocks <<END
$mtd 0x0 0x20000
$mtd 0x20000 0x20000
END
    in_turn nor-whole-blocks "$six_turns" "$everybody"
    check "nor-whole-blocks: flags" "00 01" "$(byte_at $mtd 0x4) $(byte_at $mtd 0x20004)"

    # The environment is smaller than a block; what else is there has to stay.
    config nor-amid-other-data <<END
$mtd $((block * 128 + 512)) 0x400
$mtd $((block * 129 + 512)) 0x400
END
    neighbours="$((block * 128)) $((block * 128 + 1536)) $((block * 130 - 1))"
    for offset in $neighbours; do
        printf 'n' | dd of=$mtd bs=1 seek="$offset" 2>/dev/null
    done
    in_turn nor-amid-other-data "ours ours ours ours" "$everybody"
    for offset in $neighbours; do
        check "nor-amid-other-data: neighbour at $offset" 6e "$(byte_at $mtd "$offset")"
    done

    config nor-copies-in-one-block <<END
$mtd $((block * 256)) 0x400
$mtd $((block * 256 + 1024)) 0x400
END
    ours fw_setenv -c nor-copies-in-one-block -f default a 1 2>/dev/null
    check "nor-copies-in-one-block: refused" 234 $?

    # A damaged copy is passed over and repaired. Flash can clear bits without an erase.
    for copy in 0x0 0x20000; do
        ours fw_setenv -c nor-whole-blocks turn before-$copy
        printf '\0\0\0\0' | dd of=$mtd bs=1 seek=$((copy)) 2>/dev/null
        ours fw_setenv -c nor-whole-blocks healed $copy 2>/dev/null
        check "nor-damaged-copy: $copy is healed" 0 $?
        check "nor-damaged-copy: $copy, both tools read" "healed=$copy healed=$copy" \
            "$(ours fw_printenv -c nor-whole-blocks healed) $(theirs fw_printenv -c nor-whole-blocks healed)"
    done
}

emmc() {
    modprobe sdhci_of_aspeed
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -b /dev/mmcblk0boot1 ] || sleep 1
    done
    ls /dev/mmcblk*
    switch0=/sys/block/mmcblk0boot0/force_ro
    switch1=/sys/block/mmcblk0boot1/force_ro
    check "boot partitions are write-protected" "1 1" "$(cat $switch0 $switch1 | tr '\n' ' ' | sed 's/ $//')"
    ln -s /dev/mmcblk0boot0 boot-link
    config emmc-boot-partitions <<END
/dev/mmcblk0boot0 0x0 0x20000
/dev/mmcblk0boot1 0x0 0x20000
END
    in_turn emmc-boot-partitions "$six_turns" "$everybody"
    check "emmc-boot-partitions: protected again" "1 1" "$(cat $switch0 $switch1 | tr '\n' ' ' | sed 's/ $//')"
    config emmc-boot-partition-by-link <<END
boot-link 0x40000 0x20000
/dev/mmcblk0boot0 -0x20000 0x20000
END
    in_turn emmc-boot-partition-by-link "ours ours" "$everybody"
    check "emmc-boot-partition-by-link: protected again" 1 "$(cat $switch0)"
    echo 0 >$switch0
    ours fw_setenv -c emmc-boot-partition-by-link turn open
    check "emmc-boot-partition-by-link: left open as it was" 0 "$(cat $switch0)"
}

ram() {
    modprobe mtdram total_size=1024 erase_size=64
    modprobe mtdblock
    mtd=$(grep -l 'mtdram test device' /sys/class/mtd/mtd*/name | grep -v ro/ | sed 's,/name,,; s,.*/,,')
    config ram-is-no-flash <<END
/dev/$mtd 0 0x4000
END
    ours fw_printenv -c ram-is-no-flash 2>/dev/null
    check "ram-is-no-flash: we refuse" 234 $?
    theirs fw_printenv -c ram-is-no-flash 2>/dev/null
    check "ram-is-no-flash: so does libubootenv" 234 $?

    config flash-as-block-device <<END
/dev/mtdblock${mtd#mtd} 0 0x4000
/dev/mtdblock${mtd#mtd} 0x10000 0x4000
END
    in_turn flash-as-block-device "ours ours ours" "ours"
}

mmc() {
    modprobe sdhci_pci
    modprobe mmc_block
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -b /dev/mmcblk0 ] || sleep 1
    done
    config mmc-from-both-ends <<END
/dev/mmcblk0 0x100000 0x20000
/dev/mmcblk0 -0x100000 0x20000
END
    in_turn mmc-from-both-ends "$six_turns" "$everybody"

    switch=/sys/block/mmcblk0/force_ro
    echo 1 >$switch
    ours fw_setenv -c mmc-from-both-ends turn protected
    check "mmc-write-protected: written by us" 0 $?
    check "mmc-write-protected: read" "turn=protected" "$(theirs fw_printenv -c mmc-from-both-ends turn)"
    check "mmc-write-protected: protected again" 1 "$(cat $switch)"
    theirs fw_setenv -c mmc-from-both-ends turn theirs 2>/dev/null
    check "mmc-write-protected: libubootenv knows only boot partitions" "turn=protected" \
        "$(ours fw_printenv -c mmc-from-both-ends turn)"
}

echo "kernel $(uname -r) on $(uname -m)"
case $(uname -m) in
arm*) nor && emmc ;;
*) nand && ubi && ram && mmc ;;
esac
if [ $failed = 0 ]; then
    echo "every check passed"
else
    echo "$failed checks failed"
fi
reboot -f
