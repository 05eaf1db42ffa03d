"""The media library of this server: files that recordings send to VOD, kept here and played from here."""
