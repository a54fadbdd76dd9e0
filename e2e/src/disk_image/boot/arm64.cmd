# A/B boot for a U-Boot that has neither a saved environment nor a boot counter of its own, on
# arm64. It does what CONFIG_ENV_REDUNDANT, CONFIG_BOOTCOUNT_ENV, CONFIG_BOOTCOUNT_LIMIT and the
# boot commands of a U-Boot that is set up for two root parts do, on the same bytes: Linux sees no
# difference. One there is: a save here keeps the variables named in `env_keep`, not all.
# Words between @ are filled in when the image is made. Comments are left out then.

# What is compiled into such a U-Boot.
setenv bootlimit 1
setenv bootcount 0
setenv upgrade_available 0
setenv mender_boot_part 2
setenv mender_boot_part_hex 2
setenv mender_check_saveenv_canary 1
setenv mender_saveenv_canary
setenv env_keep bootlimit bootcount upgrade_available mender_boot_part mender_boot_part_hex mender_check_saveenv_canary mender_saveenv_canary mender_systemd_machine_id @KEEP@

# m0, m1: the copies as read; mn: the one to be written; c: a checksum as `crc32` stores it, with
# the highest byte first; r: with the lowest byte first, as in the environment.
setexpr m0 ${ramdisk_addr_r} + 0
setexpr m1 ${m0} + 100000
setexpr mn ${m0} + 200000
setexpr c0 ${m0} + 300000
setexpr c1 ${c0} + 1
setexpr c2 ${c0} + 2
setexpr c3 ${c0} + 3
setexpr r0 ${c0} + 10
setexpr r1 ${c0} + 11
setexpr r2 ${c0} + 12
setexpr r3 ${c0} + 13
setenv checksum 'setexpr d ${m} + 5; crc32 ${d} @DATA_SIZE@ ${c0}; cp.b ${c0} ${r3} 1; cp.b ${c1} ${r2} 1; cp.b ${c2} ${r1} 1; cp.b ${c3} ${r0} 1'
setenv check 'setenv ok 0; run checksum; if cmp.b ${r0} ${m} 4; then setenv ok 1; fi; setexpr f ${m} + 4; setexpr.b f *${f}'

# The newer copy: 0 follows 255, otherwise the larger number wins, and copy 0 a draw.
setenv choose 'setenv cur none; if test ${ok0} = 1; then setenv cur 0; fi; if test ${ok1} = 1; then if test ${ok0} = 0; then setenv cur 1; else if itest 0x${f1} -gt 0x${f0}; then setenv cur 1; fi; if test ${f0}.${f1} = ff.0; then setenv cur 1; fi; if test ${f0}.${f1} = 0.ff; then setenv cur 0; fi; fi; fi'
setenv env_load '@READ@ ${m0} @BLOCK_0@ @BLOCKS@; @READ@ ${m1} @BLOCK_1@ @BLOCKS@; setenv m ${m0}; run check; setenv ok0 ${ok}; setenv f0 ${f}; setenv m ${m1}; run check; setenv ok1 ${ok}; setenv f1 ${f}; run choose'

# Into the copy that is not current, and with the next number.
setenv env_save 'setenv f ${f0}; setenv to 1; setenv block @BLOCK_1@; if test ${cur} = 1; then setenv f ${f1}; setenv to 0; setenv block @BLOCK_0@; fi; setexpr.b f 0x${f} + 1; run env_write; setenv cur ${to}; setexpr d ${mn} + 4; setexpr.b f${to} *${d}'
setenv env_write 'echo "tandem: saving the environment to copy ${to}"; setexpr d ${mn} + 5; env export -b -s @DATA_SIZE@ ${d} ${env_keep}; setenv m ${mn}; run checksum; cp.b ${r0} ${mn} 4; setexpr d ${mn} + 4; mw.b ${d} ${f} 1; @WRITE@ ${mn} ${block} @BLOCKS@; echo "tandem: saved"'

setenv altbootcmd 'if test ${mender_boot_part} = 2; then setenv mender_boot_part 3; else setenv mender_boot_part 2; fi; setenv mender_boot_part_hex ${mender_boot_part}; echo "tandem: rolling back to part ${mender_boot_part}"; setenv upgrade_available 0; run env_save'
setenv boot_it 'echo "tandem: booting part ${mender_boot_part} (upgrade_available=${upgrade_available} bootcount=${bootcount})"; setenv bootargs "root=@PARTITION@${mender_boot_part} rootwait @ARGS@"; if load @DEVICE@:${mender_boot_part_hex} ${kernel_addr_r} @KERNEL@; then @DEVICE_TREE@; @START@; fi; echo "tandem: part ${mender_boot_part} does not start"; reset'

@HOOK@
@SCAN@
run env_load
echo "tandem: environment copies good=${ok0}${ok1} numbers=${f0},${f1} current=${cur}"
if test ${cur} = none; then echo "*** Warning - bad CRC, using default environment"; fi
if test ${cur} = 0; then setexpr d ${m0} + 5; env import -b ${d} @DATA_SIZE@; fi
if test ${cur} = 1; then setexpr d ${m1} + 5; env import -b ${d} @DATA_SIZE@; fi
if test "${mender_check_saveenv_canary}" = 1; then if test "${mender_saveenv_canary}" != 1; then setenv mender_saveenv_canary 1; run env_save; fi; fi
if test ${upgrade_available} != 0; then setexpr bootcount ${bootcount} + 1; run env_save; if test ${bootcount} -gt ${bootlimit}; then run altbootcmd; fi; fi
run boot_it
