# needs: javac java
# memory: 2g
# time: 120
# javac, and a program with threads, files, memory-mapped files, processes and sockets.
cat > Work.java <<'J'
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.nio.file.attribute.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public class Work {
    static void threads() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<Long>> parts = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            final int n = i;
            parts.add(pool.submit(() -> LongStream.rangeClosed(1, 10000).map(x -> x * n).sum()));
        }
        long sum = 0;
        for (Future<Long> part : parts) sum += part.get();
        pool.shutdown();
        System.out.println("sum " + sum + " " + pool.awaitTermination(5, TimeUnit.SECONDS));
        Object lock = new Object();
        synchronized (lock) { lock.wait(10); }
        System.out.println(IntStream.range(0, 1000).parallel().map(x -> x * x).sum());
    }

    static void files() throws Exception {
        Path folder = Files.createDirectories(Path.of("tree/deep"));
        Path file = folder.resolve("file");
        Files.write(file, List.of("one", "two"));
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r-----"));
        System.out.println(Files.readString(file).length() + " " + PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
        Files.createSymbolicLink(folder.resolve("link"), Path.of("file"));
        try (Stream<Path> walk = Files.walk(Path.of("tree"))) { walk.sorted().forEach(System.out::println); }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            ByteBuffer map = channel.map(FileChannel.MapMode.READ_WRITE, 0, 16);
            map.put(0, (byte) 'X');
            try (FileLock lock = channel.lock()) { System.out.println("locked " + lock.isValid()); }
        }
        System.out.println(Files.size(file) + " " + (char) Files.readAllBytes(file)[0]);
        Files.move(file, folder.resolve("moved"), StandardCopyOption.ATOMIC_MOVE);
        try { Files.readString(file); } catch (NoSuchFileException e) { System.out.println("missing"); }
        WatchService watch = FileSystems.getDefault().newWatchService();
        folder.register(watch, StandardWatchEventKinds.ENTRY_CREATE);
        Files.createFile(folder.resolve("fresh"));
        WatchKey key = watch.poll(10, TimeUnit.SECONDS);
        System.out.println("watched " + key.pollEvents().get(0).context());
    }

    static void processes() throws Exception {
        Process process = new ProcessBuilder("sh", "-c", "read x; echo got $x; exit 5").redirectErrorStream(true).start();
        try (Writer writer = process.outputWriter()) { writer.write("input\n"); }
        System.out.println(new String(process.getInputStream().readAllBytes()).trim() + " " + process.waitFor());
        Process sleeper = new ProcessBuilder("sleep", "100").start();
        sleeper.destroyForcibly();
        System.out.println("killed " + sleeper.waitFor());
        try { new ProcessBuilder("/no/such/program").start(); } catch (IOException e) { System.out.println("no program"); }
        System.out.println(ProcessHandle.current().pid() > 0);
    }

    static void sockets() throws Exception {
        try (ServerSocket server = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
            Thread thread = new Thread(() -> {
                try (Socket client = server.accept()) { client.getInputStream().transferTo(client.getOutputStream()); }
                catch (IOException e) { System.out.println(e); }
            });
            thread.start();
            try (Socket socket = new Socket(server.getInetAddress(), server.getLocalPort())) {
                socket.getOutputStream().write("over tcp".getBytes());
                socket.shutdownOutput();
                System.out.println(new String(socket.getInputStream().readAllBytes()));
            }
            thread.join();
        }
        UnixDomainSocketAddress address = UnixDomainSocketAddress.of("socket");
        try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(address);
             SocketChannel client = SocketChannel.open(address); SocketChannel peer = server.accept()) {
            client.write(StandardCharsets.UTF_8.encode("over unix"));
            ByteBuffer buffer = ByteBuffer.allocate(100);
            peer.read(buffer);
            System.out.println(new String(buffer.array(), 0, buffer.position()));
        }
    }

    static int depth(int n) { return depth(n + 1) + 1; }

    public static void main(String[] args) throws Exception {
        threads();
        files();
        processes();
        sockets();
        try { depth(0); } catch (StackOverflowError e) { System.out.println("stack overflow"); }
        try { Object nothing = args.length > 5 ? "" : null; nothing.hashCode(); } catch (NullPointerException e) { System.out.println("null"); }
        byte[][] memory = new byte[50][];
        for (int i = 0; i < 500; i++) memory[i % 50] = new byte[1 << 20];
        System.gc();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));
        System.exit(args.length + 7);
    }
}
J
javac Work.java && java Work a b; echo $?
jar cfe work.jar Work ./*.class && (mkdir other && cd other && java -Xmx128m -XX:+UseSerialGC -jar ../work.jar) | tail -1; java NoSuchClass 2> /dev/null; echo $?
echo 'class Bad { int x = ; }' > Bad.java; javac Bad.java 2>&1 | tail -1
