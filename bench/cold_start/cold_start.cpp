// Time from create to a command's first output, as a ratio to `docker run --rm IMAGE true` in the
// same run: cold_start [image] [rounds]
#include <hf/sandbox.hpp>

#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

extern char** environ;

namespace {

using clock_type = std::chrono::steady_clock;
using sandbox = hf::basic_sandbox<hf::curl_transport, hf::docker_launcher>;

double ms_since(clock_type::time_point start) {
  return std::chrono::duration<double, std::milli>(clock_type::now() - start).count();
}

bool run(std::vector<std::string> command) {
  std::vector<char*> argv;
  for (auto& argument : command)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  int status = 0;
  return ::posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ) == 0 &&
         ::waitpid(child, &status, 0) == child && status == 0;
}

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void report(char const* what, std::vector<double> const& times, double floor) {
  std::printf("%-44s %7.1f ms   %7.1f ... %7.1f   ratio %.2f\n", what, median(times),
              *std::min_element(times.begin(), times.end()),
              *std::max_element(times.begin(), times.end()), median(times) / floor);
}

int measure(std::string const& image, std::vector<std::string> const& nothing, int rounds) {
  auto client = std::make_shared<sandbox::client_type>();
  std::vector<std::string> docker_run{"docker", "run", "--rm", image};
  docker_run.insert(docker_run.end(), nothing.begin(), nothing.end());
  auto echo = nothing;
  echo.back() = "echo";
  echo.push_back("hello");

  std::vector<double> floor, bridge, no_network, first_client;
  auto const once = [&](std::shared_ptr<sandbox::client_type> const& with, bool network) {
    hf::launch_options options;
    options.image = image;
    options.network = network;
    auto const start = clock_type::now();
    double first = 0;
    auto sb = sandbox::create(with, options);
    hf::exec_options e;
    e.on_stdout = [&](std::string_view) {
      if (first == 0)
        first = ms_since(start);
    };
    sb.exec(hf::command(echo), e).check();
    return first;
  };
  // Interleaved, so that a slow moment of the machine hits all of them.
  for (int round = -1; round < rounds; ++round) {
    auto const start = clock_type::now();
    if (!run(docker_run)) {
      std::fprintf(stderr, "docker run --rm %s fails\n", image.c_str());
      return 1;
    }
    double const plain = ms_since(start);
    double const with = once(client, true);
    double const without = once(client, false);
    double const fresh = once(std::make_shared<sandbox::client_type>(), true);
    if (round < 0)
      continue;  // warms up
    floor.push_back(plain);
    bridge.push_back(with);
    no_network.push_back(without);
    first_client.push_back(fresh);
  }
  std::printf("%s, %d rounds: median, range, ratio of the medians\n", image.c_str(), rounds);
  report("docker run --rm IMAGE true (floor)", floor, median(floor));
  report("create to first output", bridge, median(floor));
  report("the same with a new client each time", first_client, median(floor));
  report("the same without a network", no_network, median(floor));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string const image = argc > 1 ? argv[1] : "hf-sandbox-test/python";
  int const rounds = argc > 2 ? (std::max)(1, std::atoi(argv[2])) : 15;
  bool const busybox = image.find("busybox") != std::string::npos;
  try {
    return measure(image,
                   busybox ? std::vector<std::string>{"/bin/busybox", "true"}
                           : std::vector<std::string>{"true"},
                   rounds);
  } catch (hf::error const& e) {
    std::printf("%s\n", e.what());
    return e.kind() == hf::errc::connect_failed || e.kind() == hf::errc::permission_denied ? 4 : 1;
  }
}
