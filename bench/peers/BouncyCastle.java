import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.security.GeneralSecurityException;
import javax.crypto.Cipher;
import javax.crypto.spec.SecretKeySpec;
import org.bouncycastle.crypto.AlphabetMapper;
import org.bouncycastle.crypto.BlockCipher;
import org.bouncycastle.crypto.CipherParameters;
import org.bouncycastle.crypto.engines.AESEngine;
import org.bouncycastle.crypto.fpe.FPEFF1Engine;
import org.bouncycastle.crypto.params.FPEParameters;
import org.bouncycastle.crypto.params.KeyParameter;
import org.bouncycastle.crypto.util.BasicAlphabetMapper;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.util.encoders.Hex;

/**
 * FF1 of Bouncy Castle, as a peer of bench/peers: java -cp bcprov.jar BouncyCastle.java own|jdk
 *
 * <p>Engine, AES key schedule and alphabet mapper are made once. The time is this thread's own: compiler and
 * collector run on threads beside it and are not counted, which is in the peer's favour.
 */
public final class BouncyCastle {
    private static final int TOKENS = 100;

    private final FPEFF1Engine engine;
    private final AlphabetMapper mapper;
    private final String[] values;
    private final String[] tokens;
    private final ThreadMXBean clock = ManagementFactory.getThreadMXBean();

    private BouncyCastle(BlockCipher aes, byte[] key, String alphabet, String[] values) {
        this.values = values;
        tokens = new String[values.length];
        mapper = new BasicAlphabetMapper(alphabet);
        engine = new FPEFF1Engine(aes);
        engine.init(true, new FPEParameters(new KeyParameter(key), mapper.getRadix(), new byte[0]));
    }

    /** One round over all values: nanoseconds a value. */
    private double round() {
        long start = clock.getCurrentThreadCpuTime();
        for (int i = 0; i < values.length; i++) {
            byte[] numerals = mapper.convertToIndexes(values[i].toCharArray());
            engine.processBlock(numerals, 0, numerals.length, numerals, 0);
            tokens[i] = new String(mapper.convertToChars(numerals));
        }
        return (double) (clock.getCurrentThreadCpuTime() - start) / values.length;
    }

    /** The JDK's AES, which runs on the processor's instructions, as a block cipher that the engine takes. */
    private static final class JdkAes implements BlockCipher {
        private final Cipher cipher;

        JdkAes() throws GeneralSecurityException {
            cipher = Cipher.getInstance("AES/ECB/NoPadding");
        }

        @Override
        public void init(boolean forEncryption, CipherParameters parameters) {
            try {
                byte[] key = ((KeyParameter) parameters).getKey();
                cipher.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"));
            } catch (GeneralSecurityException fault) {
                throw new IllegalStateException(fault);
            }
        }

        @Override
        public int processBlock(byte[] in, int inOff, byte[] out, int outOff) {
            try {
                return cipher.update(in, inOff, 16, out, outOff);
            } catch (GeneralSecurityException fault) {
                throw new IllegalStateException(fault);
            }
        }

        @Override
        public String getAlgorithmName() {
            return "AES";
        }

        @Override
        public int getBlockSize() {
            return 16;
        }

        @Override
        public void reset() {}
    }

    public static void main(String[] arguments) throws Exception {
        String version = new BouncyCastleProvider().getVersionStr();
        System.out.println(version + ", Java " + System.getProperty("java.version"));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        byte[] key = Hex.decode(in.readLine());
        String alphabet = in.readLine();
        double warmUp = Double.parseDouble(in.readLine());
        String[] values = new String[Integer.parseInt(in.readLine())];
        for (int i = 0; i < values.length; i++) {
            values[i] = in.readLine();
        }
        BlockCipher aes = arguments[0].equals("jdk") ? new JdkAes() : AESEngine.newInstance();
        BouncyCastle peer = new BouncyCastle(aes, key, alphabet, values);
        long until = System.nanoTime() + (long) (warmUp * 1e9);
        do {
            peer.round();
        } while (System.nanoTime() < until);
        for (int i = 0; i < Math.min(TOKENS, values.length); i++) {
            System.out.println(peer.tokens[i]);
        }
        while (in.readLine() != null) {
            System.out.println(peer.round());
        }
    }
}
