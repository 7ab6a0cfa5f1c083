// What a transport costs the caller: CPU microseconds per small call, CPU seconds per GiB down and
// up, each also as a ratio to a loop on a raw socket in the same run. The server is another
// process, so that only the client's CPU is counted. Usage: bench_transports [CALLS] [MIB]
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/transports/curl.hpp>
#if defined(HF_SANDBOX_HAS_BEAST)
#include <hf/sandbox/transports/beast.hpp>
#endif
#if defined(HF_SANDBOX_HAS_HTTPLIB)
#include <hf/sandbox/transports/httplib.hpp>
#endif

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>

namespace {

std::uint64_t calls = 2000;
std::uint64_t bulk = 256u << 20;

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto const seconds = [](timeval const& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void write_all(int s, char const* data, std::size_t size) {
  while (size > 0) {
    auto const n = ::send(s, data, size, MSG_NOSIGNAL);
    if (n <= 0)
      return;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
}

/// Reads up to the end of a head; what follows it stays in `rest`. Empty at the end.
std::string read_head(int s, std::string& rest) {
  while (rest.find("\r\n\r\n") == std::string::npos) {
    std::array<char, 65536> block;
    auto const n = ::recv(s, block.data(), block.size(), 0);
    if (n <= 0)
      return {};
    rest.append(block.data(), static_cast<std::size_t>(n));
  }
  auto const end = rest.find("\r\n\r\n") + 4;
  auto head = rest.substr(0, end);
  rest.erase(0, end);
  return head;
}

void serve(int s) {
  std::string rest;
  std::string const block(1 << 20, 'b');
  std::string sink(1 << 20, '\0');
  for (auto head = read_head(s, rest); !head.empty(); head = read_head(s, rest)) {
    if (head.rfind("GET /bulk", 0) == 0) {
      auto const answer = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(bulk) + "\r\n\r\n";
      write_all(s, answer.data(), answer.size());
      for (std::uint64_t at = 0; at < bulk; at += block.size())
        write_all(s, block.data(), block.size());
      continue;
    }
    if (head.rfind("PUT /bulk", 0) == 0) {
      auto left = bulk - (std::min<std::uint64_t>)(bulk, rest.size());
      rest.clear();
      while (left > 0) {
        auto const n = ::recv(s, sink.data(), (std::min<std::uint64_t>)(sink.size(), left), 0);
        if (n <= 0)
          return;
        left -= static_cast<std::uint64_t>(n);
      }
    }
    std::string_view const small = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    write_all(s, small.data(), small.size());
  }
}

[[noreturn]] void run_server(int listener) {
  while (true) {
    int const s = ::accept(listener, nullptr, nullptr);
    if (s < 0)
      std::_Exit(1);
    int const on = 1;
    ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread([s] {
      serve(s);
      ::close(s);
    }).detach();
  }
}

class zeros : public hf::http::body_reader {
 public:
  [[nodiscard]] std::uint64_t size() const override { return bulk; }
  std::size_t read(std::span<std::byte> buffer) override {
    auto const n = (std::min<std::uint64_t>)(buffer.size(), bulk - at_);
    at_ += n;
    return static_cast<std::size_t>(n);
  }
  void rewind() override { at_ = 0; }

 private:
  std::uint64_t at_ = 0;
};

struct figures {
  double call_us;
  double down;
  double up;
};

template <class Call, class Down, class Up>
figures measure(Call call, Down down, Up up) {
  auto const cost = [](auto work) {
    auto const before = cpu_seconds();
    work();
    return cpu_seconds() - before;
  };
  auto const per_gib = static_cast<double>(std::uint64_t{1} << 30) / static_cast<double>(bulk);
  call();  // the connection
  // The least of three: other work on the machine only adds.
  figures out{1e9, 1e9, 1e9};
  for (int i = 0; i < 3; ++i) {
    auto const small = cost([&] {
      for (std::uint64_t n = 0; n < calls; ++n)
        call();
    });
    out.call_us = (std::min)(out.call_us, 1e6 * small / static_cast<double>(calls));
    out.down = (std::min)(out.down, per_gib * cost(down));
    out.up = (std::min)(out.up, per_gib * cost(up));
  }
  return out;
}

figures measure_raw(std::uint16_t port) {
  int const s = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(port);
  if (::connect(s, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0)
    std::exit(1);
  int const on = 1;
  ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::string block(512 * 1024, '\0');
  auto const ask = [&](std::string_view head) { write_all(s, head.data(), head.size()); };
  auto const answer = [&](std::uint64_t size) {
    std::string rest;
    (void)read_head(s, rest);
    for (auto got = static_cast<std::uint64_t>(rest.size()); got < size;) {
      auto const n = ::recv(s, block.data(), block.size(), 0);
      if (n <= 0)
        std::exit(1);
      got += static_cast<std::uint64_t>(n);
    }
  };
  auto const out = measure(
      [&] {
        ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        answer(2);
      },
      [&] {
        ask("GET /bulk HTTP/1.1\r\nHost: x\r\n\r\n");
        answer(bulk);
      },
      [&] {
        ask("PUT /bulk HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(bulk) +
            "\r\n\r\n");
        for (std::uint64_t sent = 0; sent < bulk; sent += block.size())
          write_all(s, block.data(), block.size());
        answer(2);
      });
  ::close(s);
  return out;
}

template <class T>
figures measure_transport(std::uint16_t port) {
  T transport;
  auto const base = "http://127.0.0.1:" + std::to_string(port);
  hf::http::request const small{.url = base + "/"};
  return measure([&] { (void)hf::http::fetch(transport, small); },
                 [&] {
                   hf::http::stream(transport, {.url = base + "/bulk"},
                                    [](auto) { return hf::http::flow::more; });
                 },
                 [&] {
                   (void)hf::http::fetch(
                       transport,
                       {.method = "PUT", .url = base + "/bulk", .body = std::make_shared<zeros>()});
                 });
}

void print(char const* name, figures const& f, figures const& floor) {
  std::printf("%-10s %8.1f us/call (%5.2f x)  %6.3f CPU-s/GiB down (%5.2f x)  %6.3f up (%5.2f x)\n",
              name, f.call_us, f.call_us / floor.call_us, f.down, f.down / floor.down, f.up,
              f.up / floor.up);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1)
    calls = std::strtoull(argv[1], nullptr, 10);
  if (argc > 2)
    bulk = std::strtoull(argv[2], nullptr, 10) << 20;
  int const listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&at), size) != 0 ||
      ::listen(listener, 16) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size) != 0)
    return 1;
  pid_t const server = ::fork();
  if (server == 0)
    run_server(listener);
  auto const port = ntohs(at.sin_port);
  std::printf("%llu calls, %llu MiB each way; client CPU, x = ratio to the raw socket\n",
              static_cast<unsigned long long>(calls), static_cast<unsigned long long>(bulk >> 20));
  auto const floor = measure_raw(port);
  print("raw", floor, floor);
  print("curl", measure_transport<hf::curl_transport>(port), floor);
#if defined(HF_SANDBOX_HAS_BEAST)
  print("beast", measure_transport<hf::beast_transport>(port), floor);
#endif
#if defined(HF_SANDBOX_HAS_HTTPLIB)
  print("httplib", measure_transport<hf::httplib_transport>(port), floor);
#endif
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);
  return 0;
}
