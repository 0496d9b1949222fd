// Command client reads a product from order service and buys it now and then, as often as wanted, and prints as JSON what the
// answers were. Each failed call is told on standard error when it fails.
//
// TRISTORE_ORDER_TARGET is such as dns:///order-service:50052, TRISTORE_TOKEN an access token, or TRISTORE_TOKEN_FILE a file with
// one, which may change, TRISTORE_CA a file with the authorities to trust; without it there is no TLS. With
// TRISTORE_NO_SERVICE_CONFIG it does without the service config. Arguments: the id of a product, how many calls, where 0 means
// until it is told to end (SIGTERM), and how many of them a second; without that, one after the other. It is run in its own
// folder, from where it finds the proto files.
package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	// Without this import nobody watches the health of the servers.
	_ "google.golang.org/grpc/health"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const (
	root = "../../../../"
	// Of so many calls one buys.
	buys = 10
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

type client struct {
	channel *grpc.ClientConn
	files   linker.Files
}

var hasConfig = os.Getenv("TRISTORE_NO_SERVICE_CONFIG") == ""

func dial() client {
	proto := protocompile.Compiler{Resolver: protocompile.WithStandardImports(
		&protocompile.SourceResolver{ImportPaths: []string{root + "proto"}})}
	files := must(proto.Compile(context.Background(),
		"order/v1/catalog_service.proto", "order/v1/order_service.proto", "order/v1/transfer_service.proto"))
	security := insecure.NewCredentials()
	if ca := os.Getenv("TRISTORE_CA"); ca != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(must(os.ReadFile(ca)))
		security = credentials.NewClientTLSFromCert(pool, "")
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(security)}
	if hasConfig {
		config := must(os.ReadFile(root + "deploy/grpc/service-config.json"))
		options = append(options, grpc.WithDefaultServiceConfig(string(config)))
	} else {
		options = append(options, grpc.WithDisableRetry())
	}
	return client{must(grpc.NewClient(os.Getenv("TRISTORE_ORDER_TARGET"), options...)), files}
}

func token() string {
	if file := os.Getenv("TRISTORE_TOKEN_FILE"); file != "" {
		return string(must(os.ReadFile(file)))
	}
	return os.Getenv("TRISTORE_TOKEN")
}

// send makes a call whose request is written as JSON. It has the timeout of the service config; without that, the same.
func (c client) send(service, method, request string) (protoreflect.Message, error) {
	for _, file := range c.files {
		if found := file.Services().ByName(protoreflect.Name(service)); found != nil {
			of := found.Methods().ByName(protoreflect.Name(method))
			message, answer := dynamicpb.NewMessage(of.Input()), dynamicpb.NewMessage(of.Output())
			if err := protojson.Unmarshal([]byte(request), message); err != nil {
				return nil, err
			}
			ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token())
			if !hasConfig {
				var done context.CancelFunc
				ctx, done = context.WithTimeout(ctx, 5*time.Second)
				defer done()
			}
			err := c.channel.Invoke(ctx, fmt.Sprintf("/%s/%s", found.FullName(), method), message, answer)
			return answer, err
		}
	}
	return nil, fmt.Errorf("there is no service %s", service)
}

func (c client) call(number int64, product string) error {
	if number%buys != 0 {
		_, err := c.send("CatalogService", "GetProduct", fmt.Sprintf(`{"productId": %q}`, product))
		return err
	}
	// By the request id the service knows a repeat, so the channel may make one.
	placed, err := c.send("OrderService", "PlaceOrder", fmt.Sprintf(
		`{"requestId": %q, "items": [{"productId": %q, "quantity": "1"}]}`, newID(), product))
	if err != nil {
		return err
	}
	order := placed.Get(placed.Descriptor().Fields().ByName("order")).Message()
	id := order.Get(order.Descriptor().Fields().ByName("id")).String()
	_, err = c.send("TransferService", "PayOrder", fmt.Sprintf(`{"requestId": %q, "orderId": %q}`, newID(), id))
	return err
}

// newID is a random UUID, version 4.
func newID() string {
	var id [16]byte
	must(rand.Read(id[:]))
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func main() {
	product, calls := os.Args[1], must(strconv.ParseInt(os.Args[2], 10, 64))
	rate, atOnce := 0.0, 1
	if len(os.Args) > 3 {
		rate, atOnce = must(strconv.ParseFloat(os.Args[3], 64)), 16
	}
	c := dial()
	defer c.channel.Close()

	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	answers := map[string]int{}
	var lock sync.Mutex
	var last atomic.Int64
	var callers sync.WaitGroup
	began := time.Now()
	for range atOnce {
		callers.Go(func() {
			for number := last.Add(1); calls == 0 || number <= calls; number = last.Add(1) {
				var wait time.Duration
				if rate > 0 {
					wait = time.Until(began.Add(time.Duration(float64(number) / rate * float64(time.Second))))
				}
				select {
				case <-ended.Done():
					return
				case <-time.After(wait):
				}
				answer := "OK"
				if err := c.call(number, product); err != nil {
					answer = status.Code(err).String() + ": " + status.Convert(err).Message()
					fmt.Fprintln(os.Stderr, "failed: "+answer)
				}
				lock.Lock()
				answers[answer]++
				lock.Unlock()
			}
		})
	}
	callers.Wait()
	fmt.Println(string(must(json.Marshal(answers))))
}
