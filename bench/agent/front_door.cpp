// What the agent's front door costs, beside floors measured in the same run: its start, a small
// request on a kept-alive connection, an idle connection. HF_SANDBOX_AGENT names the agent.
#include "support/agent_process.hpp"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace {

using namespace hf::testing_support;
using clock_type = std::chrono::steady_clock;

double microseconds_since(clock_type::time_point begin) {
  return std::chrono::duration<double, std::micro>(clock_type::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// User and system time of a process, in microseconds.
double cpu_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/schedstat");
  double nanoseconds = 0;
  file >> nanoseconds;
  return nanoseconds / 1000;
}

long status_of(pid_t pid, std::string const& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(file, line))
    if (line.compare(0, name.size(), name) == 0)
      return std::atol(line.c_str() + name.size());
  return 0;
}

void report(char const* what, double value, char const* unit, double floor, char const* goal) {
  if (floor > 0)
    std::printf("%-46s %9.1f %-5s floor %9.1f  ratio %5.2f  %s\n", what, value, unit, floor,
                value / floor, goal);
  else
    std::printf("%-46s %9.1f %-5s %s\n", what, value, unit, goal);
}

// A child that gives back what it is sent: the cheapest server there can be.
struct echo_child {
  echo_child() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      throw std::runtime_error("socketpair failed");
    pid = ::fork();
    if (pid == 0) {
      ::close(ends[0]);
      char bytes[4096];
      for (;;) {
        ssize_t const n = ::recv(ends[1], bytes, sizeof bytes, 0);
        if (n <= 0 || ::send(ends[1], bytes, static_cast<std::size_t>(n), MSG_NOSIGNAL) != n)
          ::_exit(0);
      }
    }
    ::close(ends[1]);
    fd = ends[0];
  }
  ~echo_child() {
    ::close(fd);
    ::waitpid(pid, nullptr, 0);
  }
  pid_t pid = -1;
  int fd = -1;
};

void start() {
  std::vector<double> spawns;
  std::vector<double> starts;
  for (int i = 0; i < 30; ++i) {
    auto const before_spawn = clock_type::now();
    agent_options version;
    version.flags = {"--version"};
    version.wait_until_healthy = false;
    {
      agent_process process(version);
      while (!process.wait_exit(std::chrono::milliseconds(0))) {
      }
      spawns.push_back(microseconds_since(before_spawn));
    }
    auto const before = clock_type::now();
    agent_options options;
    options.wait_until_healthy = false;
    agent_process agent(options);
    for (;;) {
      try {
        auto connection = agent.connect();
        connection.send("GET /health HTTP/1.1\r\n\r\n");
        if (connection.read_answer().status == 200)
          break;
      } catch (std::exception const&) {
      }
    }
    starts.push_back(microseconds_since(before));
  }
  report("start to first answer", median(starts), "us", median(spawns), "(floor: --version)");
}

void small_requests() {
  constexpr int rounds = 20000;
  agent_process agent;
  auto connection = agent.connect();
  std::string const request =
      "GET /v1/nowhere HTTP/1.1\r\nHost: a\r\nX-Sandbox-Token: " + agent.token() + "\r\n\r\n";
  connection.send(request);
  std::size_t const answer = connection.read_some().size();
  auto const ask = [&] {
    connection.send(request);
    connection.read_exactly(answer);
  };
  for (int i = 0; i < 1000; ++i)
    ask();
  double cpu = cpu_of(agent.pid());
  auto begin = clock_type::now();
  for (int i = 0; i < rounds; ++i)
    ask();
  double const wall = microseconds_since(begin) / rounds;
  cpu = (cpu_of(agent.pid()) - cpu) / rounds;

  echo_child echo;
  std::string bytes(answer, 'x');
  auto const bounce = [&] {
    if (::send(echo.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0)
      throw std::runtime_error("send failed");
    for (std::size_t got = 0; got < bytes.size();) {
      ssize_t const n = ::recv(echo.fd, bytes.data() + got, bytes.size() - got, 0);
      if (n <= 0)
        throw std::runtime_error("recv failed");
      got += static_cast<std::size_t>(n);
    }
  };
  double floor_cpu = cpu_of(echo.pid);
  begin = clock_type::now();
  for (int i = 0; i < rounds; ++i)
    bounce();
  double const floor_wall = microseconds_since(begin) / rounds;
  floor_cpu = (cpu_of(echo.pid) - floor_cpu) / rounds;
  report("small request, one after another", wall, "us", floor_wall, "(floor: an echo)");
  report("small request, agent CPU", cpu, "us", floor_cpu, "(floor: an echo)");
}

void idle_connections() {
  agent_process agent;
  long const before = status_of(agent.pid(), "VmRSS:");
  std::vector<raw_http> open;
  for (int i = 0; i < 1000; ++i) {
    open.push_back(agent.connect());
    open.back().send_request("GET", "/v1/info", agent.token());
    open.back().read_answer();
  }
  long const after = status_of(agent.pid(), "VmRSS:");
  report("resident, nothing connected", static_cast<double>(before), "kB", 0, "");
  report("resident, 1,000 idle connections", static_cast<double>(after), "kB", 0,
         "(goal: <= 10240)");
  report("threads", static_cast<double>(status_of(agent.pid(), "Threads:")), "", 0, "");
}

}  // namespace

int main() {
  try {
    start();
    small_requests();
    idle_connections();
  } catch (std::exception const& failed) {
    std::fprintf(stderr, "front_door: %s\n", failed.what());
    return 1;
  }
}
