#!/bin/busybox sh
# The first process of a machine with a disk: finds it, lays this machine's own files over it, and hands over.
PATH=/bin
busybox mkdir -p /proc /dev /disk
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
case " $(busybox cat /proc/cmdline) " in *" probe "*) echo o >/proc/sysrq-trigger; busybox sleep 60 ;; esac
while read -r module; do busybox insmod "/modules/$module"; done </modules/order
until busybox mount -t ext4 /dev/vda /disk; do busybox sleep 0.1; done 2>/dev/null
busybox cp -a /own/. /disk/
busybox umount /proc
exec busybox switch_root /disk /lib/systemd/systemd
