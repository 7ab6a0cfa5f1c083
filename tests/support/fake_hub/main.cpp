#include "support/fake_hub/fake_hub.hpp"

#include <signal.h>

#include <charconv>
#include <iostream>
#include <map>
#include <string>

namespace {

using hf::testing_support::fake_hub;
using hf::testing_support::fake_hub_options;
using hf::testing_support::hub_fault;
using hf::testing_support::hub_route;
using hf::testing_support::job_behaviour;

constexpr char usage[] =
    R"(fake_hub [--port N] [--agent PATH] [--token T] [--user NAME] [--scheduling MS]
         [--rate-limit N] [--any-client] [--no-isolation] [--quiet]
         [--fault ROUTE:WHAT[:TIMES]]... [--jobs HOW]

Plays the Hugging Face Hub and its Jobs proxy: really runs the jobs it is given, on this machine.
Prints the variables that lead a program here; --agent defaults to $HF_SANDBOX_AGENT, --port to any
free one. Whatever is not as the library should send it is refused, and listed at the end (Ctrl-C);
--any-client takes the header fields of other clients, too.
  ROUTE  any whoami create inspect list cancel labels logs metrics hardware download telemetry proxy
  WHAT   a status (500), reset, lose (do it, then lose the answer)
  HOW    die, never-start, never-ready, slow: how every job behaves
Exit status: 1 when there was something to list, 2 for wrong options.
)";

std::map<std::string, hub_route> const routes{
    {"any", hub_route::any},           {"whoami", hub_route::whoami},
    {"create", hub_route::create},     {"inspect", hub_route::inspect},
    {"list", hub_route::list},         {"cancel", hub_route::cancel},
    {"labels", hub_route::labels},     {"logs", hub_route::logs},
    {"metrics", hub_route::metrics},   {"hardware", hub_route::hardware},
    {"download", hub_route::download}, {"telemetry", hub_route::telemetry},
    {"proxy", hub_route::proxy}};

/// A number from 0 to `most`; false for anything else.
bool parse_number(std::string const& text, int most, int& number) {
  auto const parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && number >= 0 &&
         number <= most;
}

bool parse_fault(std::string const& text, hub_fault& fault) {
  auto const first = text.find(':');
  if (first == std::string::npos || routes.count(text.substr(0, first)) == 0)
    return false;
  fault.where = routes.at(text.substr(0, first));
  auto const second = text.find(':', first + 1);
  auto const what =
      text.substr(first + 1, second == std::string::npos ? second : second - first - 1);
  if (what == "reset")
    fault.what = hub_fault::kind::reset;
  else if (what == "lose")
    fault.what = hub_fault::kind::lose_answer;
  else if (!parse_number(what, 599, fault.status) || fault.status < 200)
    return false;
  if (fault.status == 429)
    fault.fields.add("Retry-After", "1");
  return second == std::string::npos ||
         parse_number(text.substr(second + 1), 1'000'000, fault.times);
}

bool parse_behaviour(std::string const& text, job_behaviour& how) {
  if (text == "die")
    how.what = job_behaviour::kind::die_at_start;
  else if (text == "never-start")
    how.what = job_behaviour::kind::never_start;
  else if (text == "never-ready")
    how.what = job_behaviour::kind::never_ready;
  else if (text == "slow")
    how.boot_delay = std::chrono::seconds(5);
  else
    return false;
  how.lines = {"a line of the job"};
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  fake_hub_options options;
  options.log = [](std::string const& line) { std::cerr << line << '\n'; };
  std::vector<hub_fault> faults;
  job_behaviour behaviour;
  for (int i = 1; i < argc; ++i) {
    std::string const option = argv[i];
    auto const value = [&]() -> std::string { return i + 1 < argc ? argv[++i] : ""; };
    hub_fault fault;
    bool good = true;
    int number = 0;
    if (option == "--help") {
      std::cout << usage;
      return 0;
    }
    if (option == "--port" && (good = parse_number(value(), 65535, number)))
      options.port = static_cast<std::uint16_t>(number);
    else if (option == "--agent")
      options.agent = value();
    else if (option == "--token")
      options.token = value();
    else if (option == "--user")
      options.user = value();
    else if (option == "--scheduling" && (good = parse_number(value(), 3'600'000, number)))
      options.scheduling = std::chrono::milliseconds(number);
    else if (option == "--rate-limit" && (good = parse_number(value(), 1'000'000, number)))
      options.rate_limit = number;
    else if (option == "--any-client")
      options.any_client = true;
    else if (option == "--no-isolation")
      options.isolate = false;
    else if (option == "--quiet")
      options.log = {};
    else if (option == "--jobs")
      good = parse_behaviour(value(), behaviour);
    else if (option == "--fault" && (good = parse_fault(value(), fault)))
      faults.push_back(fault);
    else
      good = false;
    if (!good) {
      std::cerr << "fake_hub: wrong or unknown option: " << option << "\n\n" << usage;
      return 2;
    }
  }

  // Before any thread exists, so that all of them inherit it.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGHUP);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  try {
    fake_hub hub(options);
    for (auto const& fault : faults)
      hub.add_fault(fault);
    hub.behave(behaviour, 1000);
    std::cout << "export HF_ENDPOINT=" << hub.url() << "\nexport HF_TOKEN=" << hub.token()
              << "\nexport HF_SANDBOX_AGENT_URL=" << hub.agent_url()
              << "\nexport HF_SANDBOX_AGENT_SHA256=" << hub.agent_sha256() << std::endl;
    int signal = 0;
    sigwait(&ends, &signal);
    for (auto const& bad : hub.violations())
      std::cerr << "violation: " << bad << '\n';
    return hub.violations().empty() ? 0 : 1;
  } catch (std::exception const& failure) {
    std::cerr << failure.what() << '\n';
    return 1;
  }
}
