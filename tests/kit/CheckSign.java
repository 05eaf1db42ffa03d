import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** The documents' sample for Java, with key, body and signature as arguments. */
public final class CheckSign {
  private CheckSign() {}

  static String getResultSign(String key, String body) throws Exception {
    Mac hmacSha256 = Mac.getInstance("HmacSHA256");
    SecretKeySpec secret_key = new SecretKeySpec(key.getBytes(), "HmacSHA256");
    hmacSha256.init(secret_key);
    return Base64.getEncoder().encodeToString(hmacSha256.doFinal(body.getBytes("UTF-8")));
  }

  public static void main(String[] args) throws Exception {
    System.out.println(getResultSign(args[0], args[1]).equals(args[2]) ? "OK" : "FAIL");
  }
}
