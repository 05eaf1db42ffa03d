"""What policies may name: resources, and the actions of TRTC.

A misspelt name in a deny would deny nothing, so names that are not known are refused. Known are the actions of the
models and those that the documents list for policies (G:4382) though nobody offers them.
"""

import functools

from rtcloud.apimodel.model import load_catalogue

ANY = "*"

#: The documents' names that belong to no model.
_DOCUMENTED = """
    ChangeSecretKeyFlag CreateSecret CreateSecretUserSig CreateSpearConf CreateTrtcApp CreateWatermark DeleteSpearConf
    DeleteWatermark DescribeAppStatList DescribeDurationPackages DescribeSdkAppInfo DescribeSecret DescribeSig
    DescribeSpearConf DescribeTrtcAppAndAccountInfo DescribeTrtcStatistic DescribeWatermark GetCommState
    GetElasticSearchData GetUserInfo GetUserList HardDescribeMixConf ModifyAppInfo ModifyMixConf ModifySpearConf
    ModifyWatermark RemindBalance ToggleSecretVersion ToggleSpearScheme VerifySecretUserSig VerifySig
"""
DOCUMENTED = frozenset(_DOCUMENTED.split())

#: What answers with a key, or with something that only a key can make.
SECRET = frozenset({"DescribeSecret", "DescribeSig", "DescribeTrtcAppAndAccountInfo", "CreateSecretUserSig"})

#: What the read-only preset grants. A wildcard would take in ``SECRET``, and what a preset denies nothing could allow.
_READING = """
    DescribeAIConversation DescribeAITranscription DescribeAbnormalEvent DescribeAppStatList DescribeCallDetail
    DescribeCallDetailInfo DescribeCloudModeration DescribeCloudRecording DescribeCloudSliceTask
    DescribeCloudTranscription DescribeDetailEvent DescribeDurationPackages DescribeHistoryScale
    DescribeMixTranscodingUsage DescribePicture DescribeRealtimeNetwork DescribeRealtimeQuality DescribeRealtimeScale
    DescribeRecordStatistic DescribeRecordingUsage DescribeRelayUsage DescribeRoomInfo DescribeRoomInformation
    DescribeScaleInfo DescribeSdkAppInfo DescribeSpearConf DescribeStreamIngest DescribeTRTCMarketQualityData
    DescribeTRTCMarketScaleData DescribeTRTCRealTimeQualityData DescribeTRTCRealTimeScaleData
    DescribeTrtcInteractiveTime DescribeTrtcMcuTranscodeTime DescribeTrtcRoomUsage DescribeTrtcStatistic
    DescribeTrtcUsage DescribeUnusualEvent DescribeUserEvent DescribeUserInfo DescribeUserInformation
    DescribeWatermark DescribeWebRecord GetCommState GetElasticSearchData GetUserInfo GetUserList
    HardDescribeMixConf QueryAIMessageList RemindBalance VerifySecretUserSig VerifySig
"""
READING = tuple(_READING.split())


def application_resource(account_uin: str, sdk_app_id: int) -> str:
    return f"qcs::trtc::uin/{account_uin}:sdkappid/{sdk_app_id}"


def every_application(account_uin: str) -> str:
    """All of them at once: allowed if all are, denied if any is."""
    return f"qcs::trtc::uin/{account_uin}:sdkappid/*"


@functools.cache
def known_actions() -> frozenset[str]:
    """The names of TRTC's actions, without their service."""
    models = [model for model in load_catalogue().models if model.service == "trtc"]
    return DOCUMENTED.union(*(model.actions for model in models), *(model.offline_actions for model in models))
