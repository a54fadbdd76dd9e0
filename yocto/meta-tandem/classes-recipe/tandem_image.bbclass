# Images for devices with two root file systems. IMAGE_FSTYPES may have
#
#   disk                 the whole disk: boot, root A, root B, data, and what TANDEM_EXTRA_PARTS names
#   mender               the artifact that installs the root file system
#   bootstrap-artifact   the artifact that tells a new device what it has; it is on the disk
#
# lib/tandem/layout.py says where everything lies.

inherit tandem_settings
require conf/image-uefi.conf

IMAGE_FSTYPES += "disk mender"
IMAGE_INSTALL:append = " tandem kernel-image ${@'kernel-devicetree' if d.getVar('KERNEL_DEVICETREE') else ''} ${TANDEM_STATE_SCRIPTS}"

# The root file system fills its partition; what does not fit is an error of do_image.
IMAGE_ROOTFS_SIZE = "${@tandem.layout.root_size(tandem_ask(d, tandem.layout.of))}"
IMAGE_ROOTFS_MAXSIZE = "${IMAGE_ROOTFS_SIZE}"
IMAGE_ROOTFS_EXTRA_SPACE = "0"
IMAGE_OVERHEAD_FACTOR = "1.0"

python () {
    tandem_check(d, tandem.settings.check, tandem.settings.check_identity, tandem.layout.of,
                 tandem.layout.raw_files, tandem.settings.check_signing_key)
    if d.getVar('TANDEM_SIGNING_KEY'):
        d.appendVarFlag('do_image_mender', 'file-checksums', ' %s:True' % d.getVar('TANDEM_SIGNING_KEY'))
    for recipe in d.getVar('TANDEM_STATE_SCRIPTS').split():
        d.appendVarFlag('do_image_mender', 'depends', ' %s:do_populate_sysroot' % recipe)
    if d.getVar('TANDEM_BOOT') != 'uboot':
        d.appendVarFlag('do_image_disk', 'depends', ' tandem-boot:do_deploy')
    if d.getVar('TANDEM_BOOT') == 'grub':
        d.appendVarFlag('do_image_disk', 'depends', ' grub-efi:do_deploy')
    else:
        d.appendVarFlag('do_image_disk', 'depends', ' virtual/bootloader:do_deploy')
}

# What packages put below /data is the data partition's, and the tables say where everything lies.
TANDEM_DATA_TREE = "${WORKDIR}/tandem-data"
do_rootfs[cleandirs] += "${TANDEM_DATA_TREE}"
ROOTFS_POSTPROCESS_COMMAND += "tandem_split_rootfs"
tandem_split_rootfs () {
	install -d ${IMAGE_ROOTFS}/data
	find ${IMAGE_ROOTFS}/data -mindepth 1 -maxdepth 1 -exec mv -t ${TANDEM_DATA_TREE} {} +
	install -d -m 0700 ${TANDEM_DATA_TREE}/tandem
	echo "device_type=${@d.getVar('TANDEM_DEVICE_TYPE').split()[0]}" > ${TANDEM_DATA_TREE}/tandem/device_type
	for place in ${@' '.join(part.mount for part in tandem_ask(d, tandem.layout.of).parts if part.mount not in ('', '/'))}; do
		install -d ${IMAGE_ROOTFS}$place
	done
	install -d ${IMAGE_ROOTFS}${sysconfdir}
	touch ${IMAGE_ROOTFS}${sysconfdir}/fstab
}
ROOTFS_POSTPROCESS_COMMAND += "tandem_write_tables"
python tandem_write_tables () {
    layout, disk = tandem.layout.of(d), d.getVar('TANDEM_STORAGE_DEVICE')
    etc = d.expand('${IMAGE_ROOTFS}${sysconfdir}')
    with open(os.path.join(etc, 'fstab'), 'r+') as file:
        before = file.read()
        file.write(('' if before.endswith('\n') or not before else '\n') + tandem.layout.fstab(layout, disk, before))
    if layout.environment:
        with open(os.path.join(etc, 'fw_env.config'), 'w') as file:
            file.write(tandem.layout.fw_env_config(layout, disk, tandem.layout.environment_size(d)))
}
tandem_write_tables[vardeps] += "TANDEM_LAYOUT TANDEM_STORAGE_DEVICE TANDEM_UBOOT_ENV_SIZE TANDEM_BOOT"

TANDEM_ROOTFS = "${IMGDEPLOYDIR}/${IMAGE_NAME}.${TANDEM_ROOTFS_TYPE}"
TANDEM_WRITE = "tandem-artifact --quiet write"
TANDEM_FOR = "-n '${TANDEM_ARTIFACT_NAME}' ${@' '.join('-t ' + word for word in d.getVar('TANDEM_DEVICE_TYPE').split())}"
TANDEM_SIGN = "${@'-k ' + d.getVar('TANDEM_SIGNING_KEY') if d.getVar('TANDEM_SIGNING_KEY') else ''}"

IMAGE_TYPEDEP:mender = "${TANDEM_ROOTFS_TYPE}"
do_image_mender[depends] += "tandem-artifact-native:do_populate_sysroot"
IMAGE_CMD:mender () {
	set --
	for script in ${RECIPE_SYSROOT}${datadir}/tandem/artifact-scripts/*; do
		[ ! -f "$script" ] || set -- "$@" -s "$script"
	done
	${TANDEM_WRITE} rootfs-image ${TANDEM_FOR} ${TANDEM_SIGN} ${TANDEM_ARTIFACT_ARGS} "$@" \
		-f ${TANDEM_ROOTFS} -o ${IMGDEPLOYDIR}/${IMAGE_NAME}.mender
}

IMAGE_TYPEDEP:bootstrap-artifact = "${TANDEM_ROOTFS_TYPE}"
do_image_bootstrap_artifact[depends] += "tandem-artifact-native:do_populate_sysroot"
IMAGE_CMD:bootstrap-artifact () {
	sum=$(sha256sum < ${TANDEM_ROOTFS} | cut -d ' ' -f 1)
	${TANDEM_WRITE} bootstrap-artifact ${TANDEM_FOR} \
		-p rootfs-image.version:'${TANDEM_ARTIFACT_NAME}' -p rootfs-image.checksum:$sum \
		-o ${IMGDEPLOYDIR}/${IMAGE_NAME}.bootstrap-artifact
}

IMAGE_TYPEDEP:disk = "${TANDEM_ROOTFS_TYPE} bootstrap-artifact"
do_image_disk[depends] += "util-linux-native:do_populate_sysroot e2fsprogs-native:do_populate_sysroot \
    dosfstools-native:do_populate_sysroot mtools-native:do_populate_sysroot"
# What is on the boot partition: words `FILE`, `FILE;NAME` or `DIRECTORY/*;NAME` of the deploy
# directory, as for wic.
IMAGE_BOOT_FILES ??= ""
IMAGE_BOOT_FILES:append = " ${@'' if d.getVar('TANDEM_BOOT') == 'uboot' else 'tandem-boot/*'}"
IMAGE_BOOT_FILES:append = " ${@'grub-efi-%s;EFI/BOOT/%s' % ((d.getVar('EFI_BOOT_IMAGE'),) * 2) if d.getVar('TANDEM_BOOT') == 'grub' else ''}"
TANDEM_SEED = "${MACHINE} ${IMAGE_BASENAME}"

IMAGE_CMD:disk () {
	disk=${IMGDEPLOYDIR}/${IMAGE_NAME}.disk
	part=${WORKDIR}/tandem-part
	rm -f $disk
	truncate -s ${TANDEM_STORAGE_SIZE_MB}M $disk
	sfdisk --quiet --no-reread --no-tell-kernel $disk <<-'TABLE'
	${@tandem.layout.sfdisk(tandem_ask(d, tandem.layout.of), d.getVar('TANDEM_SEED')).strip().replace('\n', '\n\t')}
	TABLE
	install -m 0600 ${IMGDEPLOYDIR}/${IMAGE_NAME}.bootstrap-artifact ${TANDEM_DATA_TREE}/tandem/bootstrap.mender
	for entry in ${TANDEM_LAYOUT}; do
		IFS=: read -r _ name start size fstype _ <<-ENTRY
		$entry
		ENTRY
		rm -rf $part $part.tree
		case $name in
			root-a) tandem_put ${TANDEM_ROOTFS} $start $size; continue ;;
			boot) tandem_boot_tree $part.tree ;;
			data) cp -a ${TANDEM_DATA_TREE} $part.tree ;;
			*) mkdir $part.tree ;;
		esac
		truncate -s ${size}K $part
		case $fstype in
			ext4) mke2fs -q -t ext4 -L $name -d $part.tree $part ;;
			vfat)
				mkfs.vfat --invariant -n "$(echo $name | tr a-z A-Z | cut -c 1-11)" $part
				find $part.tree -mindepth 1 -maxdepth 1 -exec mcopy -s -i $part {} ::/ \;
				;;
			*) continue ;;
		esac
		tandem_put $part $start $size
	done
	rm -rf $part $part.tree
	while read -r file start size; do
		[ -z "$file" ] || tandem_put ${DEPLOY_DIR_IMAGE}/$file $start $size 1
	done <<-'RAW'
	${@'\n\t'.join('%s %d %d' % place for place in tandem_ask(d, tandem.layout.raw_files))}
	RAW
}

# FILE, first place, most that it may take, bytes of a unit of these (1024): into $disk.
tandem_put () {
	unit=${4:-1024}
	has=$(stat -L -c %s $1)
	most=$(expr $3 \* $unit)
	if [ $has -gt $most ]; then
		bbfatal "$1 has $has bytes, but its place on the disk $most: it must be smaller, or the disk's layout another (TANDEM_STORAGE_SIZE_MB and its like)"
	fi
	dd if=$1 of=$disk bs=64K seek="$(expr $2 \* $unit)" oflag=seek_bytes conv=notrunc,sparse status=none
}

# The tree of the boot partition, at $1.
tandem_boot_tree () {
	mkdir $1
	files='${IMAGE_BOOT_FILES}'
	set -f
	for entry in $files; do
		from=${entry%%;*}
		to=${entry#"$from"}
		to=${to#;}
		case $from in
			*/\*)
				mkdir -p $1/$to
				cp -rL ${DEPLOY_DIR_IMAGE}/${from%/*}/. $1/$to
				;;
			*) install -D -m 0644 ${DEPLOY_DIR_IMAGE}/$from $1/${to:-${from##*/}} ;;
		esac
	done
	set +f
}
