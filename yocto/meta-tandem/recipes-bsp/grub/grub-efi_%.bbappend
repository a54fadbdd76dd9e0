# What the boot script needs beside the usual.
GRUB_BUILDIN:append = "${@' echo halt minicmd reboot regexp sleep terminal true' if d.getVar('TANDEM_BOOT') == 'grub' else ''}"
