from rtcloud.callbacks.signing import is_signed, sign

KEY = "123654"
BODY = (
    b'{\n\t"EventGroupId":\t2,\n\t"EventType":\t204,\n\t"CallbackTs":\t1664209748188,\n\t"EventInfo":\t{\n'
    b'\t\t"RoomId":\t8489,\n\t\t"EventTs":\t1664209748,\n\t\t"EventMsTs":\t1664209748180,\n'
    b'\t\t"UserId":\t"user_85034614",\n\t\t"Reason":\t0\n\t}\n}'
)
SIGNATURE = "kkoFeO3Oh2ZHnjtg8tEAQhtXK16/KI05W3BQff8IvGA="


def test_the_documented_vector() -> None:
    assert sign(KEY, BODY) == SIGNATURE


def test_any_other_byte_or_key_is_refused() -> None:
    assert is_signed(KEY, BODY, SIGNATURE)
    assert not is_signed(KEY, BODY + b" ", SIGNATURE)
    assert not is_signed("1236540", BODY, SIGNATURE)
    assert not is_signed(KEY, BODY, "ü")
