"""The catalogue (system.md section 5): one module for a failure or a family of them.

To write one, see lab/scenario.py (declaration, limits, needs), lab/episode.py (what is measured of each user), and
lab/system.py (what there is to work with). What a scenario does it with:

    a way breaks        Needs(breakable=True), then hold, drop, cut, refuse, heal (each way) of system.a.from_phones and
                        .to_bridge (lab/links.py), of system.a.to_livekit and system.stack.phones_to_livekit
                        (lab/link_breaker.py: signalling and media apart)
    a process dies      os.kill(system.worker_pid(), SIGKILL); system.a.cloud.signal(SIGKILL), await .wait(), then
                        await system.a.start_cloud(); await system.stack.livekit.kill() and .start();
                        SIGSTOP and SIGCONT likewise
    a setting changes   Needs(env={"GLASSBRIDGE_LIVEKIT_AGENT_TOKEN_TTL": "5"}), or system.a.cloud.env before a start
    phones act          user.switch(system.b), .drop(seconds), .microphone(False), .remove(); all of them die with
                        system.crowd.program.signal(SIGKILL), and come back by system.crowd.start(), system.speaking()
    logs tell           system.logged("audio link", user, since_ns), await system.until_logged(...)
"""
