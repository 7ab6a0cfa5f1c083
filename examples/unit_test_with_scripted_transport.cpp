// Testing a program that uses sandboxes, without any: the code under test takes its sandbox type as
// a template parameter, and gets one made of test doubles.
#include <hf/sandbox.hpp>
#include <hf/sandbox/testing/agent_replies.hpp>
#include <hf/sandbox/testing/fake_launcher.hpp>
#include <hf/sandbox/testing/scripted_transport.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

// The code under test: what is the answer of a Python expression?
template <class Sandbox>
static std::string evaluate(Sandbox& sb, std::string const& expression) {
  auto const r = sb.exec({"python3", "-c", "print(" + expression + ")"});
  if (r.exit_code != 0)
    return "error: " + r.err.substr(r.err.rfind(' ') + 1);
  return r.out.substr(0, r.out.size() - 1);
}

static void check(bool good, char const* what) {
  std::printf("%s: %s\n", good ? "ok" : "FAILED", what);
  if (!good)
    std::exit(1);
}

int main() {
  using namespace hf::testing;
  using sandbox = hf::basic_sandbox<scripted_transport, fake_launcher>;
  scripted_transport network;  // copies share one script
  fake_launcher launcher;

  network.expect("POST", "/v1/exec").reply_with(exec_reply("2\n"));
  network.expect("POST", "/v1/exec").reply_with(exec_reply("", "ZeroDivisionError: by zero", 1));
  network.expect("POST", "/v1/exec").reply(403, R"({"error": "wrong token"})");
  {
    auto sb = sandbox::create({}, launcher, network);
    check(evaluate(sb, "1+1") == "2", "an answer is returned");
    check(evaluate(sb, "1/0") == "error: zero", "a failure of the expression is told");
    bool refused = false;
    try {
      (void)evaluate(sb, "2+2");
    } catch (hf::error const& e) {
      refused = e.http_status() == 403;
    }
    check(refused, "a refusal of the agent is an error");
  }
  network.verify();  // throws when a request is missing, or one too many
  check(network.requests().at(0).body.find("print(1+1)") != std::string::npos,
        "the expression reached the sandbox");
  check(launcher.running() == 0, "no machine is left");
  return 0;
}
