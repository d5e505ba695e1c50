// Seconds on a clock that never jumps back and goes on in sleep, which performance.now() alone may not.

const SLEPT = 2_000; // milliseconds by which the wall clock must have run ahead

export function steadyClock(now = () => performance.now(), wall = () => Date.now()) {
  let asleep = 0;
  let last = [now(), wall()];
  return () => {
    const here = [now(), wall()];
    const ahead = here[1] - last[1] - (here[0] - last[0]);
    if (ahead > SLEPT) asleep += ahead;
    last = here;
    return (here[0] + asleep) / 1000;
  };
}
