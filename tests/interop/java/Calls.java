import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.tencentcloudapi.common.AbstractClient;
import com.tencentcloudapi.common.AbstractModel;
import com.tencentcloudapi.common.CommonClient;
import com.tencentcloudapi.common.Credential;
import com.tencentcloudapi.common.exception.TencentCloudSDKException;
import com.tencentcloudapi.common.profile.ClientProfile;
import com.tencentcloudapi.common.profile.HttpProfile;
import com.tencentcloudapi.common.profile.Language;
import com.tencentcloudapi.sts.v20180813.StsClient;
import com.tencentcloudapi.trtc.v20190722.TrtcClient;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * Makes the calls that it reads as JSON from stdin with the official Java SDK, one after the other, and prints their
 * outcomes as JSON: what an existing program would see. Requests and clients are the SDK's typed ones.
 */
public final class Calls {
  private static final Gson GSON = new Gson();

  public static void main(String[] arguments) throws Exception {
    JsonObject given =
        JsonParser.parseReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).getAsJsonObject();
    JsonArray outcomes = new JsonArray();
    for (JsonElement each : given.getAsJsonArray("calls")) {
      outcomes.add(outcome(each.getAsJsonObject(), text(given, "proxy", "")));
    }
    Writer out = new OutputStreamWriter(System.out, StandardCharsets.UTF_8);
    out.write(GSON.toJson(outcomes));
    out.flush();
  }

  private static JsonObject outcome(JsonObject call, String proxy) throws Exception {
    JsonObject outcome = new JsonObject();
    try {
      outcome.add("response", answer(call, profile(call, proxy)));
    } catch (TencentCloudSDKException refusal) {
      JsonObject error = new JsonObject();
      error.addProperty("code", refusal.getErrorCode());
      error.addProperty("message", refusal.getMessage());
      error.addProperty("request_id", refusal.getRequestId());
      outcome.add("error", error);
    }
    return outcome;
  }

  private static JsonElement answer(JsonObject call, ClientProfile profile) throws Exception {
    Credential credential =
        new Credential(text(call, "secret_id", ""), text(call, "secret_key", ""), text(call, "token", ""));
    String region = text(call, "region", "");
    String service = text(call, "service", "trtc");
    String action = text(call, "action", "");
    JsonObject parameters = call.getAsJsonObject("parameters");
    if (call.has("octets")) {
      byte[] body = text(call, "octets", "").getBytes(StandardCharsets.UTF_8);
      CommonClient client = new CommonClient(service, text(call, "version", ""), credential, region, profile);
      return JsonParser.parseString(client.callOctetStream(action, new HashMap<>(), body));
    }
    if (call.has("multipart")) {
      CommonClient client = new CommonClient(service, text(call, "version", ""), credential, region, profile);
      return client.commonRequest(new Form(parameters), action, JsonElement.class);
    }
    AbstractClient client =
        service.equals("sts") ? new StsClient(credential, region, profile) : new TrtcClient(credential, region, profile);
    String models = client.getClass().getPackage().getName() + ".models.";
    Class<?> kind = Class.forName(models + action + "Request");
    Object request = AbstractModel.fromJsonString(GSON.toJson(parameters), kind);
    try {
      Object made = client.getClass().getMethod(action, kind).invoke(client, request);
      return JsonParser.parseString(AbstractModel.toJsonString((AbstractModel) made));
    } catch (InvocationTargetException wrapped) {
      if (wrapped.getCause() instanceof TencentCloudSDKException) {
        throw (TencentCloudSDKException) wrapped.getCause();
      }
      throw wrapped;
    }
  }

  private static ClientProfile profile(JsonObject call, String proxy) {
    HttpProfile http = new HttpProfile();
    http.setProtocol("http://");
    http.setEndpoint(text(call, "endpoint", ""));
    http.setReqMethod(text(call, "method", "POST"));
    http.setConnTimeout(20);
    http.setReadTimeout(20);
    if (!proxy.isEmpty()) {
      int colon = proxy.lastIndexOf(':');
      http.setProxyHost(proxy.substring(proxy.indexOf("//") + 2, colon));
      http.setProxyPort(Integer.parseInt(proxy.substring(colon + 1)));
    }
    ClientProfile profile = new ClientProfile(text(call, "sign_method", ClientProfile.SIGN_TC3_256), http);
    profile.setUnsignedPayload(call.has("unsigned"));
    if (call.has("language")) {
      profile.setLanguage(text(call, "language", "").equals("zh-CN") ? Language.ZH_CN : Language.EN_US);
    }
    return profile;
  }

  private static String text(JsonObject from, String name, String otherwise) {
    JsonElement found = from.get(name);
    return found == null || found.isJsonNull() ? otherwise : found.getAsString();
  }

  /** A request of which the SDK makes multipart/form-data, as it does for actions that take files. */
  private static final class Form extends AbstractModel {
    private final HashMap<String, byte[]> parts = new HashMap<>();

    Form(JsonObject parameters) {
      for (Map.Entry<String, JsonElement> each : parameters.entrySet()) {
        parts.put(each.getKey(), each.getValue().getAsString().getBytes(StandardCharsets.UTF_8));
      }
    }

    @Override
    protected void toMap(HashMap<String, String> map, String prefix) {}

    @Override
    protected String[] getBinaryParams() {
      return new String[] {"TaskId"};
    }

    @Override
    protected HashMap<String, byte[]> getMultipartRequestParams() {
      return parts;
    }
  }
}
