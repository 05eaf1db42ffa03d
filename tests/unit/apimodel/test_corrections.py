"""What the extras add to the actions of the documents."""

from rtcloud.apimodel.model import load_model

#: Of what an action starts, these are asked about it.
STARTED = {
    "StartStreamIngest": ("DescribeStreamIngest", "UpdateStreamIngest", "StopStreamIngest"),
    "StartPublishCdnStream": ("UpdatePublishCdnStream", "StopPublishCdnStream"),
    "CreateCloudRecording": ("DescribeCloudRecording", "ModifyCloudRecording", "DeleteCloudRecording"),
}


def test_what_is_started_in_a_region_is_changed_and_stopped_there() -> None:
    actions = load_model().actions
    for start, others in STARTED.items():
        for other in others:
            assert actions[start].regions <= actions[other].regions, other
