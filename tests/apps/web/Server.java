import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.MessageDigest;
import java.util.concurrent.Executors;

/** The contract of test_web.py in the JDK's own HTTP server and client. */
public class Server {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    static byte[] blob(int size) {
        byte[] data = new byte[size];
        for (int i = 0; i < size; i++) data[i] = (byte) (i % 251);
        return data;
    }

    static String digest(InputStream stream) throws Exception {
        MessageDigest total = MessageDigest.getInstance("SHA-256");
        byte[] part = new byte[65536];
        for (int count; (count = stream.read(part)) > 0; ) total.update(part, 0, count);
        StringBuilder text = new StringBuilder();
        for (byte b : total.digest()) text.append(String.format("%02x", b));
        return text.toString();
    }

    static void answer(HttpExchange exchange, byte[] body) throws IOException {
        exchange.sendResponseHeaders(200, body.length == 0 ? -1 : body.length);
        try (OutputStream out = exchange.getResponseBody()) { out.write(body); }
    }

    static void chunks(HttpExchange exchange, int count) throws IOException {
        exchange.sendResponseHeaders(200, 0);
        try (OutputStream out = exchange.getResponseBody()) {
            for (int i = 0; i < count; i++) {
                out.write((i + "\n").getBytes());
                out.flush();
            }
        }
    }

    static InputStream fetch(InputStream url) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(new String(url.readAllBytes()))).build();
        return CLIENT.send(request, HttpResponse.BodyHandlers.ofInputStream()).body();
    }

    static void serve(HttpExchange exchange) throws IOException {
        String[] path = exchange.getRequestURI().getPath().split("/");
        try {
            switch (path[1]) {
                case "blob": answer(exchange, blob(Integer.parseInt(path[2]))); break;
                case "chunks": chunks(exchange, Integer.parseInt(path[2])); break;
                case "digest": answer(exchange, digest(exchange.getRequestBody()).getBytes()); break;
                case "fetch": answer(exchange, digest(fetch(exchange.getRequestBody())).getBytes()); break;
                default: exchange.sendResponseHeaders(404, -1); exchange.close();
            }
        } catch (Exception error) {
            error.printStackTrace();
            exchange.close();
        }
    }

    public static void main(String[] args) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(args[0], Integer.parseInt(args[1])), 64);
        server.createContext("/", Server::serve);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
    }
}
