"""The documented signature methods: TC3-HMAC-SHA256, and v1 with HmacSHA1 or HmacSHA256. Pure."""
