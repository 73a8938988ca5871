# needs: qemu-img qemu-io
# time: 60
# QEMU's disk tools over each of its engines: what is written is found, through image formats and snapshots.
set -e

for engine in threads native io_uring; do
    echo "== $engine"
    rm -f disk.raw disk.qcow2 copy.raw
    # Engine "native" is Linux AIO, which QEMU uses with O_DIRECT only.
    cache=$([ $engine = native ] && echo none || echo writeback)
    qemu-img create -q -f qcow2 disk.qcow2 16M
    qemu-io -f qcow2 -t $cache -i $engine -c 'write -P 1 0 64k' -c 'write -P 2 1M 2M' -c 'aio_write -P 3 4M 256k' \
        -c 'aio_write -P 4 5M 256k' -c 'aio_flush' -c 'discard 1M 64k' -c 'write -z 2M 64k' -c 'flush' disk.qcow2 |
        sed -n 's/^\(wrote\|discard\) \([0-9/]*\).*/\1 \2/p'
    qemu-io -f qcow2 -t $cache -i $engine -c 'read -P 1 0 64k' -c 'read -P 2 1088k 960k' -c 'read -P 3 4M 256k' \
        -c 'aio_read -P 4 5M 256k' -c 'aio_flush' -c 'read -P 0 2M 64k' -c 'read -P 0 8M 64k' disk.qcow2 |
        sed -n 's/^\(read\|Pattern verification failed\) \([0-9/]*\).*/\1 \2/p'
    qemu-img snapshot -c first disk.qcow2
    qemu-io -f qcow2 -t $cache -i $engine -c 'write -P 9 0 64k' disk.qcow2 > /dev/null
    qemu-img convert -f qcow2 -O raw disk.qcow2 copy.raw
    qemu-img snapshot -a first disk.qcow2
    qemu-img convert -f qcow2 -O raw disk.qcow2 disk.raw
    cksum disk.raw copy.raw
    qemu-img check -q disk.qcow2 && echo clean
    qemu-img compare -q -f raw -F raw disk.raw copy.raw || echo "differ: $?"
    qemu-img bench -w -f raw -t $cache -i $engine -c 200 -d 16 -s 4096 copy.raw | grep -c Run
    qemu-img bench -f raw -t $cache -i $engine -c 400 -d 32 -s 4096 copy.raw | grep -c Run
done
