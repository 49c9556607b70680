"""podlab's workers against llama.cpp on the same GGUF file: token ids, greedy tokens, speed.

    pip install --no-deps xllamacpp
    cargo build -p podlab-worker --examples
    python benches/peers/llama.py MODEL.gguf target/debug/examples [--prompts 15] [--threads 1]

Ids must be equal on 1,000 varied strings. Greedy tokens: llama.cpp's reply is put to podlab token by token, and must be
what podlab would have said up to the first near tie (podlab's two likeliest within 0.1 nat). Speeds are in CPU time of all
threads, so that other jobs on the machine disturb them less.
"""
import argparse, json, os, random, subprocess, time, urllib.request
import xllamacpp

TEXTS = [
    "The quick brown fox jumps over the lazy dog.", "def f(x):\n\treturn x**2  # square\n", "안녕하세요, 오늘 날씨가 좋네요.",
    "naïve café — “quotes” … 漢字かな", "🙂🚀👨‍👩‍👧 emoji 🏳️‍🌈", "1234567890 3.14159 1e-9 0xFF", "   leading and   inner    spaces \n\n\n tabs\t\t",
    "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n", "I'm you'll they've DON'T it's", "http://example.com/a?b=c&d=%20#frag",
    "\u200b\u00a0\u2003x\ufeff", "مرحبا بالعالم", "Привет, мир! Ёлка", "a" * 50, "\r\nwindows\r\n", "x²+y³≈½", "!!!???...;;;", "CamelCase_with_snake_case99",
]
QUESTIONS = [
    "What is the capital of France?", "Write a haiku about the sea.", "def fibonacci(n):", "List the primes below 30.", "한국의 수도는 어디인가요?",
    "🙂🚀 what do these mean?", "   ", "Explain photosynthesis briefly.", "Translate 'good morning' to Spanish.", "12*12=", "Tell me a joke.",
    "What is HTTP?", "1, 1, 2, 3, 5,", "Who wrote Hamlet?", "Sort [3,1,2] in Python.",
]


def varied(count, draws):
    """Texts, pieces of them, and characters of many scripts."""
    letters = [c for text in TEXTS for c in text]
    ranges = [(32, 0x24F), (0x370, 0x5FF), (0x4E00, 0x4EFF), (0xAC00, 0xACFF)]
    texts = list(TEXTS)
    while len(texts) < count:
        kind = draws.random()
        if kind < 0.4:
            texts.append(" ".join(draws.choice(TEXTS)[: draws.randint(1, 40)] for _ in range(draws.randint(1, 5))))
        elif kind < 0.8:
            texts.append("".join(draws.choice(letters) for _ in range(draws.randint(1, 60))))
        else:
            texts.append("".join(chr(draws.randint(*draws.choice(ranges))) for _ in range(draws.randint(1, 30))))
    return texts


class Llama:
    def __init__(self, model, threads):
        params = xllamacpp.CommonParams()
        params.model.path, params.n_ctx, params.n_parallel, params.warmup = model, 4096, 1, True
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        self.server = xllamacpp.Server(params)
        address = self.server.listening_address
        self.url = address if address.startswith("http") else "http://" + address

    def ask(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
        return json.loads(urllib.request.urlopen(request).read())

    def ids(self, text):
        return self.ask("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]

    def reply(self, prompt, count, **more):
        body = {"prompt": prompt, "n_predict": count, "temperature": 0, "return_tokens": True, "cache_prompt": False, **more}
        return self.ask("/completion", body)["tokens"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model")
    arguments.add_argument("examples", help="the folder with podlab's examples judge and speed")
    arguments.add_argument("--prompts", type=int, default=len(QUESTIONS))
    arguments.add_argument("--threads", type=int, default=1)
    arguments = arguments.parse_args()
    llama = Llama(arguments.model, arguments.threads)
    judge = [os.path.join(arguments.examples, "judge"), arguments.model]
    judge = subprocess.Popen(judge, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ours(question):
        judge.stdin.write(json.dumps(question) + "\n")
        judge.stdin.flush()
        return json.loads(judge.stdout.readline())

    texts = varied(1000, random.Random(1))
    differ = [text for text in texts if ours({"text": text})["ids"] != llama.ids(text)]
    print(f"token ids: {len(differ)} of {len(texts)} texts differ {differ[:3]}", flush=True)

    equal_before = steps = equal_later = later = 0
    for question in QUESTIONS[: arguments.prompts]:
        prompt = llama.ids(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
        reply = llama.reply(prompt, 48)
        told = ours({"prompt": prompt, "reply": reply})
        equal = [best == token for best, token in zip(told["best"], reply)]
        tie = next((at for at, gap in enumerate(told["gap"]) if gap < 0.1), len(reply))
        equal_before, steps = equal_before + sum(equal[:tie]), steps + tie
        equal_later, later = equal_later + sum(equal[tie:]), later + len(equal) - tie
        print(f"{question!r:45} {sum(equal)} of {len(equal)} equal, first near tie at {tie}", flush=True)
    print(f"greedy: {equal_before} of {steps} steps before the first near tie, {equal_later} of {later} later", flush=True)
    judge.stdin.close()

    def cpu(prompt, count):
        began = time.process_time()
        llama.reply(prompt, count, ignore_eos=True)
        return time.process_time() - began

    draws = random.Random(2)
    prompt = [20 + draws.randrange(40000) for _ in range(2048)]
    for length in (512, 2048):
        print(f"llama.cpp prefill {length}: {length / min(cpu(prompt[:length], 1) for _ in range(3)):.0f} tok per CPU-s", flush=True)
    both, alone = cpu(prompt[:96], 65), cpu(prompt[:96], 1)
    print(f"llama.cpp decode at 128: {64 / (both - alone):.0f} tok per CPU-s", flush=True)
    speed = [os.path.join(arguments.examples, "speed"), arguments.model, str(arguments.threads)]
    subprocess.run(speed, check=True)
    os._exit(0)  # the server's threads do not end by themselves


main()
