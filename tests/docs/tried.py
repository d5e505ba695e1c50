"""How each command of a page is tried. A command that no rule knows fails tests/docs/test_tried.py: run it there, name
the test that runs it, or say why nothing does."""

from enum import Enum
from typing import Final, NamedTuple


class How(Enum):
    """What proves that it works."""

    HERE = "run as it stands, in an empty folder; `by` is what it prints"
    SLOW = "the same, in a network of its own, by the slow tests"
    TEST = "run by the test that `by` names"
    TAKEN = "its options are checked against the program's; `by` is why it is not run"
    FOREIGN = "not ours; `by` is why it is not run"


class Rule(NamedTuple):
    """For the commands that match it whole."""

    pattern: str
    how: How
    by: str


DOCTOR = "tests/cli/test_doctor.py::test_all_is_well"
TUTORIAL = "tests/docs/test_commands.py::test_the_tutorial_beside_dev"
PARTS = "tests/docs/test_tried.py::test_the_parts_by_hand_as_readme_has_them"
PAIR = "tests/deploy/test_pair.py::test_the_page_works_and_faults_cost_nothing"
WEB_PHONE = "tests/js/test_web_phone.py::test_the_page_of_the_docs_survives_the_death_of_the_worker"
TARBALL = "tests/js/test_package.py::test_a_node_project_installs_the_tarball"
PHONE_CHECK = "tests/lab/test_phone_check.py::test_our_phone_keeps_all_promises"
HOURS = "it takes minutes to hours"
ELSEWHERE = "it wants a machine, a name or an account of the reader's"

RULES: Final = (
    # ---- quick ones
    Rule(r"glassbridge lab list", How.HERE, "F18"),
    Rule(r"glassbridge apps add com\.example\.captions .*", How.HERE, ""),
    # ---- beside a running system
    Rule(r"glassbridge top( --once)?", How.TEST, TUTORIAL),
    Rule(r"glassbridge top \[--cloud URL\] \[--once\] \[--ended\]", How.TAKEN, "its synopsis"),
    Rule(r"glassbridge inspect (me|ada@example\.org)( --export session\.json)?", How.TEST, TUTORIAL),
    Rule(r"glassbridge phone --token .* --wav src/glassbridge/lab/clips/clip\.wav", How.TEST, TUTORIAL),
    Rule(r"(new/bin/)?glassbridge doctor", How.TEST, DOCTOR),
    Rule(r"glassbridge doctor \[--cloud URL\] \[--json\]", How.TAKEN, "its synopsis"),
    Rule(r"glassbridge doctor --cloud https://localhost:8443", How.TEST, PAIR),
    Rule(r"glassbridge doctor --cloud https://cloud\.example\.com", How.TAKEN, ELSEWHERE),
    Rule(r"glassbridge logs test", How.TEST, "tests/cli/test_logs.py::test_one_line_a_batch_and_a_complex_line_arrive"),
    # ---- the system and its parts
    Rule(r"glassbridge dev( --user me)?|GLASSBRIDGE_APPS=apps\.toml glassbridge dev --user me", How.TEST, TUTORIAL),
    Rule(r"glassbridge demo", How.SLOW, "23 of 23"),
    Rule(r'glassbridge demo --network "10% loss"', How.SLOW, "network loss 10: "),
    Rule(
        r"glassbridge demo --break",
        How.TEST,
        "tests/lab/test_break_it.py::test_a_killed_worker_is_survived_before_the_eyes_of_a_newcomer",
    ),
    Rule(r"glassbridge livekit start( --port 7880)?", How.TEST, PARTS),
    Rule(r"glassbridge bridge --socket run/bridge\.sock", How.TEST, PARTS),
    Rule(r"LIVEKIT_GRPC_SOCKET=run/bridge\.sock glassbridge cloud .*", How.TEST, PARTS),
    Rule(r"glassbridge phone --cloud http://127\.0\.0\.1:8002 --token .*", How.TEST, PARTS),
    Rule(r"glassbridge (bridge|cloud) --port \d+", How.TEST, PAIR),
    Rule(r"glassbridge phone --cloud https://localhost:8443 .*", How.TEST, PAIR),
    Rule(
        r"glassbridge bridge|glassbridge bridge --host 10\.0\.0\.2|glassbridge cloud --host 0\.0\.0\.0",
        How.TAKEN,
        ELSEWHERE,
    ),
    Rule(r"glassbridge +(bridge|cloud) +--metrics-port \d+", How.TAKEN, "ports of metrics: tests/telemetry"),
    Rule(r"glassbridge phone --control .*", How.TAKEN, "a person types into it; tests/phone"),
    Rule(r"glassbridge phone .* --app com\.example\.captions --wav FILE", How.TAKEN, "the reader's own recording"),
    Rule(r"glassbridge phone --cloud https://cloud\.example\.com .*", How.TAKEN, ELSEWHERE),
    Rule(
        r"glassbridge app run captions\.py --reload",
        How.TEST,
        "tests/apps/test_app_run.py::test_an_app_runs_is_changed_breaks_and_runs_again",
    ),
    Rule(r"APP_KEY=\.\.\. python captions\.py", How.TEST, "tests/apps/test_examples.py"),
    Rule(r"GLASSBRIDGE_RECOGNISER=mine python mine\.py cloud --port 8002", How.TEST, "tests/docs/test_examples.py"),
    # ---- the lab
    Rule(r"glassbridge lab run .*", How.TAKEN, f"{HOURS}; `make lab` runs all of it, tests/scenarios its parts"),
    Rule(r"glassbridge lab sim --seed 4711 --story", How.HERE, ""),
    Rule(r"glassbridge lab sim --seed 4711 --shrink", How.SLOW, ""),
    Rule(r"glassbridge lab sim --links --seed 4711 --story", How.SLOW, ""),
    Rule(r"glassbridge lab sim --apps --seed 1 --days 0\.1 --story", How.SLOW, ""),
    Rule(r"glassbridge lab sim .*--seeds \d+.*", How.TAKEN, f"{HOURS}; tests/sim runs some seeds"),
    Rule(
        r"glassbridge bench (network|speech|peers)( .*)?",
        How.TAKEN,
        f"{HOURS}; tests/lab/test_networks.py, "
        "tests/lab/test_bench_speech.py, tests/lab/test_bench_peers.py run some of it",
    ),
    Rule(r"glassbridge phone-check -- glassbridge phone .*", How.TEST, PHONE_CHECK),
    Rule(
        r'glassbridge phone-check "http://localhost:5173/.*"',
        How.TEST,
        "tests/js/test_phone_check.py::test_a_page_keeps_all_promises",
    ),
    Rule(r"glassbridge phone-check .* -- \./my-phone .*", How.TAKEN, "the reader's own phone"),
    # ---- make
    Rule(r"make (setup|test|demo|lab)( && \. \.venv/bin/activate)?", How.TAKEN, "the target exists; CI runs it"),
    Rule(r"\. \.venv/bin/activate", How.FOREIGN, "each test of a checkout runs in it"),
    # ---- the JavaScript phone
    Rule(r"GLASSBRIDGE_ALLOWED_ORIGINS=http://localhost:5173 make dev ARGS=--break", How.TEST, WEB_PHONE),
    Rule(r"cd js/phone|npm (ci|pack|init -y)", How.TEST, TARBALL),
    Rule(r"npm install vite livekit-client CHECKOUT/.*|npm install --save-dev @types/.*|npx vite", How.TEST, WEB_PHONE),
    Rule(r"npm install @glassbridge/phone livekit-client", How.FOREIGN, "the package is not on npm yet"),
    # ---- operations
    Rule(r"PUBLIC_HOST=localhost VALKEY=.* sh deploy/make_secrets\.sh pair localhost", How.TEST, PAIR),
    Rule(r"(valkey-server|haproxy) .*", How.TEST, PAIR),
    Rule(
        r"podman .*|cd deploy/compose|PUBLIC_HOST=cloud\.example\.com .*",
        How.FOREIGN,
        "it wants podman; tests/deploy reads the files",
    ),
    Rule(
        r"(kubectl|helm) .*|cd secrets|VALKEY=valkey\.data.*",
        How.FOREIGN,
        "it wants a cluster; `make deploy-check` reads the chart",
    ),
    Rule(
        r"install .*|python3 -m venv /opt/glassbridge .*",
        How.FOREIGN,
        "it writes into /etc and /opt; tests/deploy reads the units",
    ),
    Rule(
        r"python -m venv new && new/bin/pip install --upgrade glassbridge",
        How.FOREIGN,
        "the package is not on PyPI yet; `make release` installs the wheel into clean environments",
    ),
    Rule(r"pip install 'glassbridge\[otel\]'", How.FOREIGN, "the package is not on PyPI yet"),
    Rule(r"promtool check rules glassbridge\.rules\.yml", How.FOREIGN, "tests/telemetry reads the rules"),
    Rule(r"curl -d 'drop@2' .*", How.TEST, "tests/cli/test_speech.py::test_the_double_of_soniox_serves_and_obeys"),
    Rule(r"pytest tests/speech/test_conformance\.py -k yours", How.FOREIGN, "the reader's own recogniser"),
)

PROGRAMS: Final = {
    "glassbridge", "new/bin/glassbridge", "make", "npm", "npx", "python", "python3", "pip", "pytest", "podman",
    "podman-compose", "kubectl", "helm", "install", "sh", "valkey-server", "haproxy", "curl", "promtool", ".", "cd",
}  # fmt: skip
"""A block without a language that has one of these in front of a line is for a shell."""

NO_SHELL: Final = (
    ("ARCHITECTURE.md", "phone ──("),
    ("ARCHITECTURE.md", "{ cli | testing } > lab >"),
    ("README.md", "glasses ─ phone"),
    ("docs/alerts.md", "route:"),
    ("docs/four-questions.md", "src/"),
    ("docs/phone-check.md", "kept "),
)
"""Pictures, files and what programs print: page, and how the block begins."""
