/* Loads the native library as a JVM would, for machines without one: usage: load_check <library> <version>.
 *
 * There is no JVM with musl, or for aarch64, in the package registries that a build reaches. So this plays as much of one
 * as the natives need: a table of JNI functions, of which all but these few end the program. */
#include <dlfcn.h>
#include <jni.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A byte array of "Java's". */
struct array {
    jsize length;
    jbyte bytes[];
};

static int wanted_to_throw;

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void unexpected(void) { fail("a native method called a JNI function that load_check.c does not have"); }

static jint get_version(JNIEnv *env) { return JNI_VERSION_10; }
static jboolean exception_check(JNIEnv *env) { return JNI_FALSE; }
static jsize get_array_length(JNIEnv *env, jarray array) { return ((struct array *)array)->length; }
static void delete_local_ref(JNIEnv *env, jobject object) {}

/* The first step of throwing an exception, and no farther. */
static jint push_local_frame(JNIEnv *env, jint capacity) {
    wanted_to_throw = 1;
    return JNI_ERR;
}

static jbyteArray new_byte_array(JNIEnv *env, jsize length) {
    struct array *array = calloc(1, sizeof *array + (size_t)length);
    array->length = length;
    return (jbyteArray)array;
}

static void set_byte_array_region(JNIEnv *env, jbyteArray array, jsize start, jsize length, const jbyte *bytes) {
    memcpy(((struct array *)array)->bytes + start, bytes, (size_t)length);
}

static void get_byte_array_region(JNIEnv *env, jbyteArray array, jsize start, jsize length, jbyte *bytes) {
    memcpy(bytes, ((struct array *)array)->bytes + start, (size_t)length);
}

static jint get_env(JavaVM *vm, void **env, jint version);
static jint get_java_vm(JNIEnv *env, JavaVM **vm);

static struct JNINativeInterface_ functions;
static const struct JNIInvokeInterface_ invocation = {.GetEnv = get_env};
static JNIEnv jni = &functions;
static JavaVM java_vm = &invocation;

static jint get_env(JavaVM *vm, void **env, jint version) {
    *env = &jni;
    return JNI_OK;
}

static jint get_java_vm(JNIEnv *env, JavaVM **vm) {
    *vm = &java_vm;
    return JNI_OK;
}

static void *native(void *library, const char *method) {
    char symbol[256];
    snprintf(symbol, sizeof symbol, "Java_io_conduktor_connect_websocket_NativeLibrary_%s", method);
    void *function = dlsym(library, symbol);
    if (!function) fail(dlerror());
    return function;
}

int main(int argc, char **argv) {
    if (argc != 3) fail("usage: load_check <library> <version>");
    for (size_t i = 0; i < sizeof functions / sizeof(void *); i++) ((void **)&functions)[i] = (void *)unexpected;
    functions.GetVersion = get_version;
    functions.GetJavaVM = get_java_vm;
    functions.ExceptionCheck = exception_check;
    functions.DeleteLocalRef = delete_local_ref;
    functions.PushLocalFrame = push_local_frame;
    functions.GetArrayLength = get_array_length;
    functions.NewByteArray = new_byte_array;
    functions.SetByteArrayRegion = set_byte_array_region;
    functions.GetByteArrayRegion = get_byte_array_region;

    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) fail(dlerror());
    ((void (*)(JNIEnv *, jclass))native(library, "init"))(&jni, NULL);

    /* One string, its length in four bytes before it: a name and the version. */
    struct array *version = (struct array *)((jbyteArray(*)(JNIEnv *, jclass))native(library, "version"))(&jni, NULL);
    jsize expected = (jsize)strlen(argv[2]);
    if (!version || version->length < 4 + expected ||
        memcmp(version->bytes + version->length - expected, argv[2], (size_t)expected))
        fail("the library is of another version");

    struct array *options = (struct array *)((jbyteArray(*)(JNIEnv *, jclass))native(library, "options"))(&jni, NULL);
    int named = 0;
    for (jsize i = 0; options && i + 13 <= options->length; i++) named += !memcmp(options->bytes + i, "websocket.url", 13);
    if (!named) fail("the options do not name websocket.url");

    /* An array that Java could not have makes the native method panic: it must unwind to where it becomes an exception. */
    struct array impossible = {.length = -1};
    if (((jbyteArray(*)(JNIEnv *, jclass, jbyteArray))native(library, "errors"))(&jni, NULL, (jbyteArray)&impossible) ||
        !wanted_to_throw)
        fail("a panic did not become an exception");

    printf("version %s, %d bytes of options, a panic becomes an exception\n", argv[2], options->length);
    return 0;
}
