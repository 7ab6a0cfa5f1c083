// Output while the command runs, both streams apart; input from memory; a timeout that kills the
// whole process tree; cancelling from another thread.
#include <hf/sandbox.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>

using sandbox = hf::basic_sandbox<hf::curl_transport, hf::process_launcher>;

static void run() {
  auto sb = sandbox::create();

  std::printf("-- live output\n");
  hf::exec_options live;
  live.on_stdout = [](std::string_view text) {
    std::printf("out: %.*s", static_cast<int>(text.size()), text.data());
    std::fflush(stdout);
  };
  live.on_stderr = [](std::string_view text) {
    std::printf("err: %.*s", static_cast<int>(text.size()), text.data());
    std::fflush(stdout);
  };
  sb.exec(hf::shell("for i in 1 2 3; do echo line $i; echo note $i >&2; sleep 0.2; done"), live)
      .check();

  std::printf("-- input\n");
  auto const count = sb.exec({"wc", "-c"}, {.input = std::string(100'000, 'x')}).check();
  std::printf("the command read %s", count.out.c_str());

  std::printf("-- timeout\n");
  auto const late = sb.exec(hf::shell("echo started; setsid sleep 60 & sleep 60"),
                            {.timeout = std::chrono::milliseconds(300)});
  std::printf("timed_out=%d, output so far: %s", late.timed_out, late.out.c_str());

#if defined(__cpp_lib_jthread)
  std::printf("-- cancel\n");
  std::stop_source stop;
  std::thread user([&stop] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    stop.request_stop();
  });
  auto const cut = sb.exec({"sleep", "60"}, {.stop = stop.get_token()});
  user.join();
  std::printf("cancelled=%d after %lld ms\n", cut.cancelled,
              static_cast<long long>(cut.duration.count()));
#endif
}

int main() {
  try {
    run();
    return 0;
  } catch (hf::error const& e) {
    bool const denied = e.kind() == hf::errc::isolation_unavailable;
    std::printf("%s%s\n", denied ? "Skipped: " : "", e.what());
    return denied ? 4 : 1;
  }
}
