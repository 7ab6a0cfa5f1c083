// The agent's CPU per GiB of a download and an upload over loopback TCP, as a ratio to a bare
// sendfile and splice loop that is measured in the same run. Wall times are printed for reference.
//
//   hf_sandbox_bench_files [--mib N] [--rounds N] [--directory D] [--agent PATH]

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct settings {
  std::uint64_t bytes = std::uint64_t{1024} << 20;
  int rounds = 5;
  std::string directory = "/tmp";
  std::string agent = HF_SANDBOX_BENCH_AGENT;
};

struct cost {
  double cpu = 0;
  double wall = 0;
};

[[noreturn]] void fail(char const* what) {
  throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

int listen_on_loopback(int& port) {
  int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(fd, 1) != 0 || ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    fail("listen");
  port = ntohs(address.sin_port);
  return fd;
}

int connect_to(int port) {
  int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    fail("connect");
  return fd;
}

void send_all(int fd, char const* data, std::size_t size) {
  while (size > 0) {
    auto const n = ::send(fd, data, size, MSG_NOSIGNAL);
    if (n < 0)
      fail("send");
    data += n;
    size -= static_cast<std::size_t>(n);
  }
}

/// Takes bytes off a socket without copying them.
void discard(int fd, std::uint64_t bytes) {
  std::vector<char> buffer(1 << 20);
  while (bytes > 0) {
    auto const want = static_cast<std::size_t>((std::min<std::uint64_t>)(bytes, buffer.size()));
    auto const n = ::recv(fd, buffer.data(), want, MSG_TRUNC);
    if (n <= 0)
      fail("recv");
    bytes -= static_cast<std::uint64_t>(n);
  }
}

std::string read_head(int fd) {
  std::string head;
  for (char c = 0; !head.ends_with("\r\n\r\n");) {
    if (::recv(fd, &c, 1, 0) != 1)
      fail("recv");
    head += c;
  }
  return head;
}

void upload_bytes(int fd, std::uint64_t bytes) {
  std::vector<char> const buffer(1 << 20, 'x');
  for (std::uint64_t done = 0; done < bytes; done += buffer.size())
    send_all(fd, buffer.data(), buffer.size());
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The floor: a child that serves one connection with nothing but the system calls.
template <class Serve, class Drive>
cost floor_cost(Serve serve, Drive drive) {
  int port = 0;
  int const listener = listen_on_loopback(port);
  auto const child = ::fork();
  if (child == 0) {
    int const fd = ::accept(listener, nullptr, nullptr);
    serve(fd);
    ::_exit(0);
  }
  auto const start = std::chrono::steady_clock::now();
  int const fd = connect_to(port);
  drive(fd);
  auto const wall = seconds_since(start);
  ::close(fd);
  int status = 0;
  rusage used{};
  if (::wait4(child, &status, 0, &used) != child || status != 0)
    fail("the floor's child");
  ::close(listener);
  auto const seconds = [](timeval t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return {seconds(used.ru_utime) + seconds(used.ru_stime), wall};
}

void sendfile_loop(int fd, std::string const& path, std::uint64_t bytes) {
  int const file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  for (off_t offset = 0; static_cast<std::uint64_t>(offset) < bytes;)
    if (::sendfile(fd, file, &offset, bytes - static_cast<std::uint64_t>(offset)) <= 0)
      ::_exit(1);
}

void splice_loop(int fd, std::string const& path, std::uint64_t bytes) {
  int const file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  int ends[2];
  if (::pipe(ends) != 0)
    ::_exit(1);
  ::fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
  while (bytes > 0) {
    auto const want = static_cast<std::size_t>((std::min<std::uint64_t>)(bytes, 1 << 20));
    auto moved = ::splice(fd, nullptr, ends[1], nullptr, want, SPLICE_F_MOVE);
    if (moved <= 0)
      ::_exit(1);
    bytes -= static_cast<std::uint64_t>(moved);
    while (moved > 0) {
      auto const n =
          ::splice(ends[0], nullptr, file, nullptr, static_cast<std::size_t>(moved), SPLICE_F_MOVE);
      if (n <= 0)
        ::_exit(1);
      moved -= n;
    }
  }
  char const done = '.';
  if (::send(fd, &done, 1, MSG_NOSIGNAL) != 1)
    ::_exit(1);
}

/// The agent as a child; its CPU time is the sum over its threads, in nanoseconds.
class agent {
 public:
  agent(std::string const& binary, std::string const& directory) : log_(directory + "/agent.log") {
    pid_ = ::fork();
    if (pid_ == 0) {
      int const log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(log, 2);
      ::setenv("SBX_TOKEN", "bench", 1);
      ::setenv("SBX_PORT", "0", 1);
      ::execl(binary.c_str(), binary.c_str(), nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 1000 && port_ == 0; ++i) {
      ::usleep(10'000);
      if (FILE* const in = std::fopen(log_.c_str(), "r")) {
        char line[512] = {};
        if (std::fgets(line, sizeof line, in) != nullptr)
          if (char const* const at = std::strstr(line, "0.0.0.0:"))
            port_ = std::atoi(at + 8);
        std::fclose(in);
      }
    }
    if (port_ == 0)
      throw std::runtime_error("the agent did not start: " + binary);
  }
  agent(agent const&) = delete;
  agent& operator=(agent const&) = delete;
  ~agent() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
    ::unlink(log_.c_str());
  }

  [[nodiscard]] double cpu() const {
    std::string const tasks = "/proc/" + std::to_string(pid_) + "/task";
    DIR* const directory = ::opendir(tasks.c_str());
    if (directory == nullptr)
      fail("opendir");
    double total = 0;
    while (dirent const* const entry = ::readdir(directory)) {
      if (entry->d_name[0] == '.')
        continue;
      auto const path = tasks + "/" + entry->d_name + "/schedstat";
      if (FILE* const in = std::fopen(path.c_str(), "r")) {
        unsigned long long run = 0;
        if (std::fscanf(in, "%llu", &run) == 1)
          total += static_cast<double>(run) / 1e9;
        std::fclose(in);
      }
    }
    ::closedir(directory);
    return total;
  }

  template <class Drive>
  cost measure(std::string const& head, Drive drive) {
    int const fd = connect_to(port_);
    auto const before = cpu();
    auto const start = std::chrono::steady_clock::now();
    send_all(fd, head.data(), head.size());
    drive(fd);
    cost const found{cpu() - before, seconds_since(start)};
    ::close(fd);
    return found;
  }

 private:
  std::string log_;
  pid_t pid_ = -1;
  int port_ = 0;
};

void check_status(std::string const& head) {
  if (head.rfind("HTTP/1.1 200", 0) != 0)
    throw std::runtime_error("the agent answered " + head);
}

cost best(std::vector<cost> const& all) {
  return *std::min_element(all.begin(), all.end(),
                           [](cost const& a, cost const& b) { return a.cpu < b.cpu; });
}

void report(char const* what, std::vector<cost> const& floors, std::vector<cost> const& agents,
            std::uint64_t bytes, double goal) {
  auto const gib = static_cast<double>(bytes) / (1 << 30);
  auto const floor = best(floors);
  auto const ours = best(agents);
  std::printf(
      "%-9s floor %.3f  agent %.3f CPU-s/GiB   ratio %.2f (goal <= %.2f)   "
      "floor %.0f  agent %.0f MiB/s\n",
      what, floor.cpu / gib, ours.cpu / gib, ours.cpu / floor.cpu, goal, gib * 1024 / floor.wall,
      gib * 1024 / ours.wall);
}

settings parse(int argc, char** argv) {
  settings s;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string_view const name = argv[i];
    std::string const value = argv[i + 1];
    if (name == "--mib")
      s.bytes = std::stoull(value) << 20;
    else if (name == "--rounds")
      s.rounds = std::stoi(value);
    else if (name == "--directory")
      s.directory = value;
    else if (name == "--agent")
      s.agent = value;
    else
      throw std::runtime_error("unknown option " + std::string(name));
  }
  return s;
}

void run(settings const& s) {
  std::string scratch = s.directory + "/hf-bench-files-XXXXXX";
  if (::mkdtemp(scratch.data()) == nullptr)
    fail("mkdtemp");
  auto const source = scratch + "/source";
  auto const target = scratch + "/target";
  {
    int const fd = ::open(source.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    std::vector<char> const block(1 << 20, 's');
    for (std::uint64_t done = 0; done < s.bytes; done += block.size())
      if (::write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size()))
        fail("write");
    ::close(fd);
  }
  auto const fields = std::string(" HTTP/1.1\r\nHost: bench\r\nX-Sandbox-Token: bench\r\n");
  auto const get = "GET /v1/files/read?path=" + source + fields + "\r\n";
  auto const put = "PUT /v1/files/write?path=" + target + fields +
                   "Content-Length: " + std::to_string(s.bytes) + "\r\n\r\n";
  std::vector<cost> down_floor;
  std::vector<cost> down;
  std::vector<cost> up_floor;
  std::vector<cost> up;
  {
    agent ours(s.agent, scratch);
    for (int round = 0; round < s.rounds; ++round) {
      down_floor.push_back(floor_cost([&](int fd) { sendfile_loop(fd, source, s.bytes); },
                                      [&](int fd) { discard(fd, s.bytes); }));
      down.push_back(ours.measure(get, [&](int fd) {
        check_status(read_head(fd));
        discard(fd, s.bytes);
      }));
      ::unlink(target.c_str());
      up_floor.push_back(floor_cost([&](int fd) { splice_loop(fd, target, s.bytes); },
                                    [&](int fd) {
                                      upload_bytes(fd, s.bytes);
                                      discard(fd, 1);
                                    }));
      ::unlink(target.c_str());
      up.push_back(ours.measure(put, [&](int fd) {
        upload_bytes(fd, s.bytes);
        check_status(read_head(fd));
      }));
    }
  }
  ::unlink(source.c_str());
  ::unlink(target.c_str());
  ::rmdir(scratch.c_str());
  std::printf("%llu MiB, best of %d rounds\n", static_cast<unsigned long long>(s.bytes >> 20),
              s.rounds);
  report("download", down_floor, down, s.bytes, 1.3);
  report("upload", up_floor, up, s.bytes, 1.3);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
