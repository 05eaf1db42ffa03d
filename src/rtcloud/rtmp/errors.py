"""The one error for what a peer sent that is no RTMP, or more of it than we take. The connection is then of no use."""


class RtmpError(ValueError):
    pass
