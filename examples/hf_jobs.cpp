// A sandbox on Hugging Face Jobs: needs a token (`hf auth login`, or HF_TOKEN) and costs a little.
// Ends its job in every case: normally, on an exception, and on Ctrl-C.
#include <hf/sandbox.hpp>

#include <signal.h>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <thread>

// Waits for Ctrl-C on a thread of its own and turns it into a stop request: the blocking call ends
// with `errc::cancelled`, and the destructor of the sandbox cancels the job.
class interrupt_watch {
 public:
  interrupt_watch() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    thread_ = std::thread([this] {
      int which = 0;
      sigwait(&signals_, &which);
      if (which != SIGUSR1)
        stop_.request_stop();
    });
  }
  ~interrupt_watch() {
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }
  [[nodiscard]] hf::stop_token token() const { return stop_.get_token(); }

 private:
  sigset_t signals_{};
  std::stop_source stop_;
  std::thread thread_;
};

static int run(std::string const& code) {
  interrupt_watch const interrupt;

  hf::launch_options machine;
  machine.image = "python:3.12";
  machine.flavor = "cpu-basic";
  machine.timeout = std::chrono::minutes(10);
  machine.labels = {{"name", "hf-sandbox-example"}};
  machine.stop = interrupt.token();
  machine.on_progress = [](std::string const& line) { std::printf("%s\n", line.c_str()); };
  auto sb = hf::sandbox::create(machine);
  std::printf("sandbox %s is up\n", sb.id().c_str());

  hf::exec_options live;
  live.stop = interrupt.token();
  live.on_stdout = [](std::string_view text) {
    std::printf("%.*s", static_cast<int>(text.size()), text.data());
    std::fflush(stdout);
  };
  sb.exec({"python3", "-c", code}, live).check();

  sb.write_file("/tmp/foo.txt", "hello");
  std::printf("foo.txt holds: %s\n", sb.read_file("/tmp/foo.txt").c_str());

  for (auto const& other : hf::sandbox::list(sb.client(), {{"name", "hf-sandbox-example"}}))
    std::printf("running: %s (%s)\n", other.id.c_str(), other.message.c_str());

  sb.terminate();  // or let the destructor do it
  return 0;
}

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // progress is seen at once also through a pipe
  try {
    return run(argc > 1 ? argv[1] : "print(1+1)");
  } catch (hf::error const& e) {
    if (e.kind() == hf::errc::unauthenticated) {
      std::printf("skipped: %s\n", e.what());
      return 4;
    }
    std::fprintf(stderr, "%s\n", e.what());
    return e.kind() == hf::errc::cancelled ? 130 : 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
