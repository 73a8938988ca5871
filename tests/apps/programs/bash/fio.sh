# needs: fio
# time: 120
# Each engine of fio writes and reads at random, and verifies what it finds. Engines differ in nothing but speed.
set -e

run() {
    local engine=$1
    shift
    printf '%s %s: ' "$engine" "$*"
    # Terse fields: 5 the error, 6 KiB read, 47 KiB written.
    fio --name=job --ioengine="$engine" --rw=randrw --bs=4k --size=1m --randseed=7 --verify=crc32c \
        --filename=data-$engine --thread --minimal "$@" 2>&1 | awk -F';' '$1 == 3 {print "error", $5, "read", $6, "written", $47}'
}

run sync
run psync
run vsync
run mmap
run libaio --iodepth=16
run libaio --iodepth=16 --iodepth_batch_submit=8 --iodepth_batch_complete_min=4
run io_uring --iodepth=16
run io_uring --iodepth=16 --iodepth_batch_submit=8 --iodepth_batch_complete_min=4
run io_uring --iodepth=8 --fixedbufs --registerfiles
run io_uring --iodepth=8 --sqthread_poll
run io_uring --iodepth=8 --force_async=4
run io_uring --iodepth=4 --nonvectored=0 --fsync=16
