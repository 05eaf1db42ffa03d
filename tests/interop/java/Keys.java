import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.tencentyun.TLSSigAPIv2;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/**
 * Makes the UserSigs and PrivateMapKeys that it reads as JSON from stdin with the official Java library, and prints them
 * as a JSON list: what tests/interop/node/keys.mjs does.
 */
public final class Keys {
  public static void main(String[] arguments) {
    JsonArray wanted =
        JsonParser.parseReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).getAsJsonArray();
    JsonArray made = new JsonArray();
    for (JsonElement each : wanted) {
      made.add(make(each.getAsJsonObject()));
    }
    System.out.print(new Gson().toJson(made));
  }

  private static String make(JsonObject wanted) {
    TLSSigAPIv2 maker =
        new TLSSigAPIv2(wanted.get("sdk_app_id").getAsLong(), wanted.get("secret_key").getAsString());
    String user = wanted.get("user_id").getAsString();
    long expire = wanted.get("expire_s").getAsLong();
    if (!wanted.has("room_id")) {
      return maker.genUserSig(user, expire);
    }
    long permissions = wanted.get("permissions").getAsLong();
    if (wanted.get("room_id").getAsJsonPrimitive().isNumber()) {
      return maker.genPrivateMapKey(user, expire, wanted.get("room_id").getAsLong(), permissions);
    }
    return maker.genPrivateMapKeyWithStringRoomID(user, expire, wanted.get("room_id").getAsString(), permissions);
  }
}
