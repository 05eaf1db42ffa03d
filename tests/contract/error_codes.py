"""Which test sees each error code answered, for the codes that the sweep over the parameters does not produce.

``test_error_codes`` looks that each named test exists and speaks of its code, and that no code is left out that the
gateway decides or a built action answers. A name that is no test's is of a table, or of
what makes its rows, that tests of the same module run through.
"""

GATEWAY = "contract/test_gateway_codes.py"
CAM = "unit/actions/test_cam.py"
STS = "unit/actions/test_sts.py"
RECORDING = "unit/actions/test_recording_actions.py"
PUBLISHING = "unit/actions/test_publishing.py"
INGEST = "unit/actions/test_ingest_actions.py"
CONSOLE = "unit/actions/test_console.py"
ROOM = "unit/actions/test_room_actions.py"

SEEN_BY = {
    "ActionOffline": f"{GATEWAY}::test_product_version_action_and_region",
    "AuthFailure.InvalidAuthorization": f"{GATEWAY}::test_who_signs_and_the_signature",
    "AuthFailure.InvalidSecretId": f"{GATEWAY}::test_who_signs_and_the_signature",
    "AuthFailure.SecretIdNotFound": f"{GATEWAY}::test_who_signs_and_the_signature",
    "AuthFailure.SignatureExpire": f"{GATEWAY}::test_who_signs_and_the_signature",
    "AuthFailure.SignatureFailure": f"{GATEWAY}::test_who_signs_and_the_signature",
    "AuthFailure.TokenFailure": f"{GATEWAY}::test_who_signs_and_the_signature",
    "AuthFailure.UnauthorizedOperation": f"{GATEWAY}::test_authorisation_comes_before_whether_the_action_is_built",
    "FailedOperation.NotAbility": f"{PUBLISHING}::test_what_this_version_does_not_do_is_said",
    "FailedOperation.NotAllowed": f"{INGEST}::test_refused_requests_start_nothing",
    "FailedOperation.PolicyFull": f"{CAM}::test_quotas_are_told_with_their_code",
    "FailedOperation.PolicyNameInUse": f"{CAM}::test_a_name_is_taken_once",
    "FailedOperation.RestrictedConcurrency": f"{RECORDING}::test_concurrency_is_limited_also_for_calls_at_once",
    "FailedOperation.RoomNotExist": f"{GATEWAY}::ROOM_UNKNOWN",
    "FailedOperation.SdkAppIdNotExist": f"{ROOM}::test_who_and_what_is_not_there_is_named",
    "FailedOperation.TaskExist": f"{INGEST}::test_a_user_is_once_in_a_room",
    "FailedOperation.TaskFinished": f"{INGEST}::test_a_task_exists_until_it_has_ended",
    "FailedOperation.TaskNotExist": f"{INGEST}::test_a_task_exists_until_it_has_ended",
    "FailedOperation.TempKeyNotAllowed": f"{STS}::test_temporary_credentials_assume_no_role",
    "FailedOperation.UserNotExist": f"{ROOM}::test_who_and_what_is_not_there_is_named",
    "InternalError": f"{GATEWAY}::test_faults_of_ours_and_answers_that_are_too_large",
    "InvalidAction": f"{GATEWAY}::test_product_version_action_and_region",
    "InvalidParameter.ActionError": f"{CAM}::RUN",
    "InvalidParameter.ConditionError": f"{CAM}::RUN",
    "InvalidParameter.EffectError": f"{CAM}::RUN",
    "InvalidParameter.ExtendStrategyOverSize": f"{STS}::policies",
    "InvalidParameter.PolicyDocumentError": f"{CAM}::RUN",
    "InvalidParameter.PrincipalError": f"{CAM}::RUN",
    "InvalidParameter.ResouceError": f"{STS}::policies",
    "InvalidParameter.ResourceError": f"{CAM}::RUN",
    "InvalidParameter.StatementError": f"{CAM}::RUN",
    "InvalidParameter.StrRoomId": f"{INGEST}::test_refused_requests_start_nothing",
    "InvalidParameter.StrategyFormatError": f"{STS}::policies",
    "InvalidParameter.StrategyInvalid": f"{STS}::policies",
    "InvalidParameter.VersionError": f"{CAM}::RUN",
    "InvalidRequest": f"{GATEWAY}::test_form_and_size",
    "IpInBlacklist": f"{GATEWAY}::test_networks_of_the_account",
    "IpNotInWhitelist": f"{GATEWAY}::test_networks_of_the_account",
    "LimitExceeded": f"{CONSOLE}::test_an_account_has_a_hundred_applications",
    "MissingParameter.CloudStorage": f"{RECORDING}::test_refused_requests_change_nothing",
    "NoSuchProduct": f"{GATEWAY}::test_product_version_action_and_region",
    "NoSuchVersion": f"{GATEWAY}::test_product_version_action_and_region",
    "RequestLimitExceeded": f"{GATEWAY}::test_rate_limits",
    "RequestLimitExceeded.GlobalRegionUinLimitExceeded": f"{GATEWAY}::test_rate_limits",
    "RequestLimitExceeded.IPLimitExceeded": f"{GATEWAY}::test_the_guard",
    "RequestLimitExceeded.UinLimitExceeded": f"{GATEWAY}::test_rate_limits",
    "RequestSizeLimitExceeded": f"{GATEWAY}::test_form_and_size",
    "ResourceNotFound": f"{RECORDING}::test_status_follows_the_task_and_an_ended_one_is_gone",
    "ResourceNotFound.PolicyIdNotFound": f"{CAM}::test_another_account_is_out_of_reach",
    "ResourceNotFound.RoleNotFound": f"{STS}::test_a_role_is_for_whom_it_trusts",
    "ResourceNotFound.UserNotExist": f"{CAM}::test_another_account_is_out_of_reach",
    "ResponseSizeLimitExceeded": f"{GATEWAY}::test_faults_of_ours_and_answers_that_are_too_large",
    "ServiceUnavailable": f"{GATEWAY}::test_the_guard",
    "UnauthorizedOperation": f"{STS}::test_a_role_is_for_whom_it_trusts",
    "UnauthorizedOperation.SdkAppId": f"{GATEWAY}::test_applications_of_others_and_of_nobody",
    "UnsupportedOperation": f"{GATEWAY}::test_authorisation_comes_before_whether_the_action_is_built",
    "UnsupportedProtocol": f"{GATEWAY}::test_form_and_size",
    "UnsupportedRegion": f"{GATEWAY}::test_product_version_action_and_region",
}
