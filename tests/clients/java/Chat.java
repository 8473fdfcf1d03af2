import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** One chat call, then the same streamed; the first argument is what stands where the API key stands. */
public class Chat {
    private static final String BASE =
        System.getenv().getOrDefault("OPENAI_BASE_URL", "https://api.openai.com/v1");

    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        var plain = client.send(ask(arguments[0], false), BodyHandlers.ofString());
        System.out.println(plain.statusCode() + " " + plain.body());
        client.send(ask(arguments[0], true), BodyHandlers.ofLines()).body()
            .filter(line -> !line.isEmpty())
            .forEach(System.out::println);
    }

    private static HttpRequest ask(String key, boolean stream) {
        String body = "{\"model\":\"gpt-4o-mini\",\"stream\":" + stream
            + ",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";
        return HttpRequest.newBuilder(URI.create(BASE + "/chat/completions"))
            .header("Authorization", "Bearer " + key)
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
    }
}
