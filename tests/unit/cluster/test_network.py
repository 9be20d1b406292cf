# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from tools.cluster import network


def test_set_up_commands_connect_to_no_other_network() -> None:
    commands = [" ".join(command) for command in network.set_up_commands()]
    assert commands[0] == "ip netns add tidegate"
    assert all(f"--net={network.NAMESPACE_FILE}" in command for command in commands[1:])
    assert not any("veth" in command for command in commands)
