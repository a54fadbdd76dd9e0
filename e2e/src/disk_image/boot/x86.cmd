# A/B boot for a U-Boot that has neither a saved environment nor a boot counter of its own, on
# x86, without `setexpr`. What arm64.cmd does, by other means: an address is "${b}" and one more
# digit, and the number that follows another is looked up in a list.

# What is compiled into a U-Boot that is set up for two root parts.
setenv bootlimit 1
setenv bootcount 0
setenv upgrade_available 0
setenv mender_boot_part 2
setenv mender_boot_part_hex 2
setenv mender_check_saveenv_canary 1
setenv mender_saveenv_canary
setenv env_keep bootlimit bootcount upgrade_available mender_boot_part mender_boot_part_hex mender_check_saveenv_canary mender_saveenv_canary mender_systemd_machine_id @KEEP@

# b0, b1: the copies as read; bn: the one to be written; bc: a checksum. One digit short.
setenv b0 1000000
setenv b1 1100000
setenv bn 1200000
setenv bc 1300000
setenv check 'setenv ok 0; if crc32 ${b}5 @DATA_SIZE@ ${bc}0; then if cmp.b ${b}0 ${bc}3 1; then if cmp.b ${b}1 ${bc}2 1; then if cmp.b ${b}2 ${bc}1 1; then if cmp.b ${b}3 ${bc}0 1; then setenv ok 1; fi; fi; fi; fi; fi'

# The newer copy: 0 follows 255, otherwise the larger number wins, and copy 0 a draw.
setenv choose 'setenv cur none; if test ${ok0}${ok1} = 10; then setenv cur 0; fi; if test ${ok0}${ok1} = 01; then setenv cur 1; fi; if test ${ok0}${ok1} = 11; then setenv cur 0; if itest.b *${b1}4 -gt *${b0}4; then setenv cur 1; fi; if itest.b *${b0}4 == ff; then if itest.b *${b1}4 == 0; then setenv cur 1; fi; fi; if itest.b *${b1}4 == ff; then if itest.b *${b0}4 == 0; then setenv cur 0; fi; fi; fi'
setenv env_load '@READ@ ${b0}0 @BLOCK_0@ @BLOCKS@; @READ@ ${b1}0 @BLOCK_1@ @BLOCKS@; setenv b ${b0}; run check; setenv ok0 ${ok}; setenv b ${b1}; run check; setenv ok1 ${ok}; run choose'

# Into the copy that is not current, and with the next number.
setenv next_flag 'setenv hit 0; for i in @HEX_LIST@; do if test ${hit} = 1; then mw.b ${bn}4 ${i} 1; setenv hit 2; fi; if test ${hit} = 0; then if itest.b *${b}4 == ${i}; then setenv hit 1; fi; fi; done'
setenv env_save 'setenv b ${b0}; setenv to 1; setenv block @BLOCK_1@; if test ${cur} = 1; then setenv b ${b1}; setenv to 0; setenv block @BLOCK_0@; fi; run env_write; setenv cur ${to}; if test ${to} = 0; then cp.b ${bn}0 ${b0}0 @SIZE@; else cp.b ${bn}0 ${b1}0 @SIZE@; fi'
setenv env_write 'echo "tandem: saving the environment to copy ${to}"; env export -b -s @DATA_SIZE@ ${bn}5 ${env_keep}; run next_flag; crc32 ${bn}5 @DATA_SIZE@ ${bc}0; cp.b ${bc}3 ${bn}0 1; cp.b ${bc}2 ${bn}1 1; cp.b ${bc}1 ${bn}2 1; cp.b ${bc}0 ${bn}3 1; @WRITE@ ${bn}0 ${block} @BLOCKS@; echo "tandem: saved"'

setenv altbootcmd 'if test ${mender_boot_part} = 2; then setenv mender_boot_part 3; else setenv mender_boot_part 2; fi; setenv mender_boot_part_hex ${mender_boot_part}; echo "tandem: rolling back to part ${mender_boot_part}"; setenv upgrade_available 0; run env_save'
setenv count 'setenv next 9; if test ${bootcount} = 0; then setenv next 1; fi; if test ${bootcount} = 1; then setenv next 2; fi; if test ${bootcount} = 2; then setenv next 3; fi; setenv bootcount ${next}; run env_save'
setenv boot_it 'echo "tandem: booting part ${mender_boot_part} (upgrade_available=${upgrade_available} bootcount=${bootcount})"; setenv bootargs "root=@PARTITION@${mender_boot_part} rootwait @ARGS@"; if load @DEVICE@:${mender_boot_part_hex} 1000000 @KERNEL@; then @START@; fi; echo "tandem: part ${mender_boot_part} does not start"; reset'

@HOOK@
@SCAN@
run env_load
echo "tandem: environment copies good=${ok0}${ok1} current=${cur}"
if test ${cur} = none; then echo "*** Warning - bad CRC, using default environment"; fi
if test ${cur} = 0; then env import -b ${b0}5 @DATA_SIZE@; fi
if test ${cur} = 1; then env import -b ${b1}5 @DATA_SIZE@; fi
if test "${mender_check_saveenv_canary}" = 1; then if test "${mender_saveenv_canary}" != 1; then setenv mender_saveenv_canary 1; run env_save; fi; fi
if test ${upgrade_available} != 0; then run count; if test ${bootcount} -gt ${bootlimit}; then run altbootcmd; fi; fi
run boot_it
