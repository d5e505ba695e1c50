// Written by tools/export_rules.py from src/glassbridge: `make machines`.
export const RULES = {
  "machines": {
    "phone_socket": {
      "states": {
        "idle": {
          "here": false,
          "final": false
        },
        "opening": {
          "here": false,
          "final": false
        },
        "ready": {
          "here": true,
          "final": false
        },
        "doubtful": {
          "here": true,
          "final": false
        },
        "waiting": {
          "here": false,
          "final": false
        },
        "offline": {
          "here": false,
          "final": false
        },
        "ended": {
          "here": false,
          "final": true
        }
      },
      "table": {
        "idle": {
          "Start": "start",
          "Stop": "stop"
        },
        "opening": {
          "Accepted": "accepted",
          "SocketFailed": "failed",
          "SocketClosed": "closed",
          "MessageReceived": "revive",
          "NetworkChanged": "restart",
          "NetworkLost": "loseNetwork",
          "Switch": "switch",
          "Stop": "stop",
          "Tick": "tick"
        },
        "ready": {
          "SocketClosed": "closed",
          "MessageReceived": "hear",
          "NetworkChanged": "restart",
          "NetworkLost": "loseNetwork",
          "Woke": "woke",
          "Switch": "switch",
          "Stop": "stop",
          "Tick": "tick"
        },
        "doubtful": {
          "SocketClosed": "closed",
          "MessageReceived": "hear",
          "NetworkChanged": "restart",
          "NetworkLost": "loseNetwork",
          "Woke": "woke",
          "Switch": "switch",
          "Stop": "stop",
          "Tick": "tick"
        },
        "waiting": {
          "Accepted": "revive",
          "SocketClosed": "part",
          "MessageReceived": "revive",
          "NetworkChanged": "hasten",
          "NetworkLost": "loseNetwork",
          "Switch": "switch",
          "Stop": "stop",
          "Tick": "retry"
        },
        "offline": {
          "NetworkChanged": "hasten",
          "Stop": "stop"
        },
        "ended": {}
      },
      "constants": {
        "LADDER": {
          "base": 0.25,
          "cap": 1.0,
          "patientCap": 60.0
        },
        "PATIENCE": [
          3.5,
          1.5
        ],
        "ROUND_TRIPS": 4,
        "PING_EVERY": 1.0,
        "SILENCE": 2.5,
        "PROBE": 1.0,
        "MOST_ASKED": 16,
        "LONGEST_TRIP": 3.0,
        "REACHES": 30.0,
        "FORGETTING": 0.8,
        "ASLEEP": 5.0,
        "SETTLED": 5.0,
        "SPREAD": 0.5
      }
    },
    "phone_place": {
      "states": {
        "out": {},
        "joining": {},
        "held": {},
        "leaving": {},
        "waiting": {}
      },
      "table": {
        "out": {
          "Wanted": "want",
          "Narrowed": "narrowed"
        },
        "joining": {
          "Wanted": "wantStill",
          "Away": "away",
          "Unwanted": "unwant",
          "PlaceJoined": "joined",
          "PlaceFailed": "failed",
          "Doubted": "doubt",
          "AudioTold": "learn",
          "Narrowed": "narrowed",
          "Tick": "expire"
        },
        "held": {
          "Wanted": "wantStill",
          "Away": "away",
          "Unwanted": "unwant",
          "PlaceLost": "lost",
          "Doubted": "doubt",
          "AudioTold": "toldHeld",
          "Narrowed": "narrowed",
          "Tick": "unheard"
        },
        "leaving": {
          "Wanted": "wantNext",
          "Away": "away",
          "Unwanted": "away",
          "PlaceLeft": "left",
          "Doubted": "hastenNext",
          "AudioTold": "learn",
          "Narrowed": "narrowed"
        },
        "waiting": {
          "Wanted": "want",
          "Away": "rest",
          "Unwanted": "rest",
          "Doubted": "hasten",
          "AudioTold": "learn",
          "Narrowed": "narrowed",
          "Tick": "retry"
        }
      },
      "constants": {
        "LADDER": {
          "base": 0.25,
          "cap": 2.0,
          "patientCap": 60.0
        },
        "PATIENCE": [
          6.0,
          3.0,
          10.0
        ],
        "UNHEARD": 3.0,
        "FROZEN": 5.0,
        "NARROW_WAIT": 20.0,
        "CONTESTED": 0.5,
        "SETTLED": 5.0
      }
    }
  },
  "constants": {
    "phone_link": {
      "STOOD_STILL": 1.0,
      "DEAD_SOUND": [
        "clipped_signal",
        "digital_silence",
        "stuck_signal"
      ],
      "NOTICED": 0.3
    },
    "sending": {
      "CHANGE_EVERY": 3.0,
      "CALM": 10.0,
      "REMEMBER": 60.0,
      "HEADROOM": 0.7,
      "CLEAN": 0.005,
      "FULL": 0.35,
      "FULL_PCM": 0.25,
      "BACKLOG": 0.1,
      "SHORT": 0.5,
      "QUEUED": 0.25,
      "QUIET": 0.15,
      "STALLED": 2.0,
      "STALLED_ALL": 3.0,
      "TRIPS": 2,
      "REPEATS": 5,
      "LONG": 0.35
    },
    "sending_levels": {
      "STATIC": {
        "name": "static",
        "coding": "pcm",
        "bitRate": 256000,
        "frameMs": 0,
        "copies": 0,
        "both": false,
        "reliable": false,
        "rate": 290000
      },
      "LEVELS": [
        {
          "name": "clear",
          "coding": "pcm",
          "bitRate": 256000,
          "frameMs": 0,
          "copies": 0,
          "both": false,
          "reliable": false,
          "rate": 290000
        },
        {
          "name": "guarded",
          "coding": "pcm",
          "bitRate": 256000,
          "frameMs": 25,
          "copies": 0,
          "both": false,
          "reliable": false,
          "rate": 320000
        },
        {
          "name": "lossy",
          "coding": "opus",
          "bitRate": 24000,
          "frameMs": 20,
          "copies": 2,
          "both": true,
          "reliable": true,
          "rate": 210000
        },
        {
          "name": "narrow",
          "coding": "opus",
          "bitRate": 16000,
          "frameMs": 60,
          "copies": 3,
          "both": true,
          "reliable": true,
          "rate": 95000
        },
        {
          "name": "thin",
          "coding": "opus",
          "bitRate": 12000,
          "frameMs": 100,
          "copies": 0,
          "both": false,
          "reliable": true,
          "rate": 22000
        }
      ],
      "HEADERS": {
        "livekit": 180,
        "websocket": 90
      },
      "START": 1,
      "LOSSY_LEVEL": 2,
      "LAST_BOTH": 3
    },
    "sockets_beside": {
      "MOST": 3,
      "OVER": 10.0,
      "HELD": [
        0.5,
        2.0
      ],
      "REPEATED": [
        20,
        40
      ],
      "LAG": 0.075,
      "LONG_LAG": 0.12
    },
    "route_reports": {
      "WINDOW": 3.0,
      "LOSSY": 0.02,
      "UNREPORTED": 1.25,
      "GROWING": 0.1,
      "FEW": 12,
      "HISTORY": 2048
    },
    "audio_routes": {
      "PRESENCE": 1.0,
      "PROVING": 0.2,
      "FRESH": 1.5,
      "AWAITED": 5.0,
      "TAIL": 0.25,
      "SILENT": 0.25
    },
    "capture": {
      "KEPT_MS": 90000,
      "KEPT_BYTES": 2880000
    },
    "coding": {
      "BLOCK": 640,
      "MAX_COPIES": 3,
      "REPAIR_MS": 200,
      "MERGED": 1000
    },
    "sender": {
      "QUEUE_FRAMES": 256,
      "MAX_AGE": 5.0,
      "HUM_AFTER": 0.3,
      "FILL_AFTER": 0.06,
      "TAILS": 2
    },
    "lanes": {
      "ROOM_AGE": 1.0,
      "SOCKET_PATIENCE": 30.0
    },
    "resending": {
      "DOUBTED": 1.5
    },
    "plain": {
      "SEND_TIMEOUT": 2.0,
      "REPLAY_SPEED": 4
    },
    "missing": {
      "AGAIN_AFTER": 0.2,
      "REMEMBERED": 512
    },
    "pacing": {
      "POLL": 0.005,
      "PROBE": 4096,
      "PROBE_WITHIN": 3.0,
      "PROBE_TELLS": 0.15,
      "REPETITION": 0.25,
      "REPETITIONS": 2,
      "PROBE_QUEUED": 0.06,
      "AHEAD": 0.15,
      "LEAST_AHEAD": 6000,
      "LEAST_QUEUED": 1500,
      "SHORT_WAY": 0.1,
      "VARIES": 0.02,
      "SHORT_AHEAD": 2360,
      "MEASURED": 0.2,
      "GUESSED": 2,
      "AROUND": 40,
      "WAY": 1.0,
      "DATAGRAM": 1200,
      "STUCK": 0.25,
      "SLOW": 40000,
      "MOST_GROWN": 9000
    },
    "beside": {
      "OPEN_WITHIN": 8.0,
      "AGAIN_AFTER": 2.0,
      "KEPT_FOR": 10.0,
      "SPARE_AFTER": 3.0,
      "FRESH_EVERY": 0.2
    },
    "insisting": {
      "AGAIN": 1.2,
      "AGAIN_EVERY": 0.045,
      "AGAIN_SHARE": 0.05
    },
    "by_track": {
      "TRACK_DELAY": 0.06
    },
    "track_tail": {
      "KEPT_MS": 30000,
      "PIECE": 3200
    },
    "audio_frames": {
      "VERSION": 2,
      "TOPIC_NUMBERED": "gb.audio.2",
      "HEADER_BYTES": 24,
      "CODING_PCM16": 0,
      "CODING_OPUS": 1,
      "FLAG_REPLAYED": 1,
      "FLAG_PRESENCE": 2,
      "FLAG_LAST": 4,
      "FLAG_REPAIR": 8,
      "ENCODERS": 16,
      "ENCODER_SHIFT": 4,
      "OPUS_PACKET": 320,
      "MAX_OPUS_PACKETS": 50,
      "MAX_OPUS_PACKET_BYTES": 1275
    }
  },
  "wire": {
    "sampleRate": 16000,
    "closeCodes": {
      "1000": [
        "said goodbye",
        "no"
      ],
      "1001": [
        "lost the network; not a goodbye (traps 27)",
        "later"
      ],
      "1002": [
        "not what the WebSocket protocol allows",
        "later"
      ],
      "1006": [
        "the connection broke",
        "later"
      ],
      "1008": [
        "refused: sign in again",
        "no"
      ],
      "1009": [
        "a message over the size limit",
        "later"
      ],
      "1011": [
        "the server failed",
        "later"
      ],
      "4001": [
        "a newer socket of the same user took over",
        "no"
      ],
      "4002": [
        "the server is shutting down; come back soon",
        "now"
      ],
      "4003": [
        "nothing was heard from the phone for too long",
        "later"
      ],
      "4005": [
        "the phone does not read what it is sent",
        "later"
      ],
      "4004": [
        "the session was ended",
        "no"
      ],
      "4006": [
        "more messages or bytes than are allowed, and on after it was told",
        "later"
      ],
      "4401": [
        "the token has expired or was withdrawn: sign in again",
        "no"
      ]
    },
    "rejoins": [
      "phone_not_in_room",
      "phone_unheard"
    ],
    "restartsCapture": [
      "clipped_signal",
      "digital_silence",
      "stuck_signal"
    ],
    "muted": "muted",
    "lossReasons": {
      "superseded": "another participant took this identity",
      "removed": "removed from the room by the room service",
      "room_deleted": "the room was deleted",
      "token_expired": "the LiveKit token has expired",
      "token_refused": "LiveKit refuses the token: check the API key and secret",
      "clock_skew": "LiveKit refuses the token because the clocks differ: set the clocks of both machines by NTP",
      "limit_exceeded": "LiveKit does not admit this join: a limit of its configuration is exceeded",
      "wrong_room": "the token belongs to another room",
      "server_shutdown": "the LiveKit server is shutting down",
      "network": "the link to LiveKit is gone",
      "unreachable": "no LiveKit server answers at that address",
      "media_failed": "LiveKit answers, but its media path does not",
      "frozen": "this process was frozen",
      "closed": "left on purpose",
      "replaced": "a newer join of the same user took over",
      "stream_broken": "the audio stream between cloud and bridge broke",
      "timed_out": "no answer in time",
      "internal": "an error inside the participant"
    }
  }
};
