// Runs real commands in a real sandbox on this machine: no account, no container engine.
#include <hf/sandbox.hpp>

#include <cstdio>
#include <exception>
#include <string_view>

using sandbox = hf::basic_sandbox<hf::curl_transport, hf::process_launcher>;

static sandbox create() {
  try {
    return sandbox::create();
  } catch (hf::error const& e) {
    if (e.kind() != hf::errc::isolation_unavailable)
      throw;
    // What follows is harmless and known. Do not do this for code that you do not know.
    std::printf("%s\nRunning this demo WITHOUT isolation.\n\n", e.what());
    return sandbox::create({}, hf::process_launcher({.isolation = hf::isolation::none}));
  }
}

static int run() {
  auto sb = create();
  std::printf("sandbox %s is up\n\n", sb.id().c_str());

  // A command's output, while it runs.
  hf::exec_options live;
  live.on_stdout = [](std::string_view text) {
    std::printf("%.*s", static_cast<int>(text.size()), text.data());
    std::fflush(stdout);
  };
  std::printf("$ count to three\n");
  sb.exec(hf::shell("for i in 1 2 3; do echo $i; sleep 0.3; done"), live).check();

  // Python where there is one, else the shell.
  bool const python = sb.exec(hf::shell("python3 -c 0 2>/dev/null")).ok();
  auto const sum =
      python ? sb.exec({"python3", "-c", "print(1+1)"}) : sb.exec(hf::shell("echo $((1+1))"));
  std::printf("\n%s says that 1+1 = %s", python ? "Python" : "The shell", sum.check().out.c_str());

  sb.write_file("foo.txt", "hello");
  std::printf("foo.txt holds: %s\n", sb.read_file("foo.txt").c_str());

  // What the sandbox sees of this machine.
  std::printf("\n$ id; ls -A /home /root\n");
  live.on_stderr = live.on_stdout;
  sb.exec(hf::shell("id; ls -A /home /root"), live);

  sb.terminate();  // or let the destructor do it
  return 0;
}

int main() {
  try {
    return run();
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
