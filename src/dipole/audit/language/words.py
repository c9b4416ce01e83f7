"""Small words of languages in Latin, Cyrillic, Arabic and Devanagari script: those that most sentences of a language hold some of.

Written down from knowledge of the languages, not counted in a corpus, so that no corpus's licence or bias comes along.
"""

from __future__ import annotations

from collections.abc import Mapping

LATIN: Mapping[str, str] = {
    "en": "the of and to in is you that it he was for on are with as his they be at have this from or had by but not what all "
    "were we when your can said there use an each which she do how their if will up about out many then them would like so "
    "these her him has my me i'm don't it's isn't didn't did does could should who why where been than no yes please never "
    "always very i a going want know think just our us its am get got any",
    "de": "der die das und ist nicht ich sie es er wir ihr ein eine einen einem einer zu mit auf für von den dem des im in an "
    "sich auch als so wie aber oder wenn dass daß war sind hat haben hatte wird werden kann mein dein sein seine unser was "
    "wer wo warum noch nur schon sehr mich dich mir dir uns ihm ihn kein keine nach bei aus um über hier bin bist habe hast "
    "will muss mehr immer nie zum zur vom gibt heute du ja",
    "fr": "le la les de des du un une et est je tu il elle nous vous ils elles que qui ne pas ce cette ces dans pour sur avec au "
    "aux en mon ma mes ton ta tes son sa ses notre votre leur plus mais ou où si très bien tout tous être avoir ai as a "
    "avons avez ont suis es sommes êtes sont était fait comme par sans c'est j'ai d'un n'est qu'il l'a quand pourquoi moi "
    "toi lui rien jamais y cela ça peux peut faire dit beaucoup",
    "es": "el la los las de del un una y es en que no se lo le por con para su sus al más como pero yo tú él ella nosotros ellos "
    "mi mis tu te me nos muy ya está están estoy son ser fue era hay ha he han tiene tengo qué quién cómo cuándo dónde "
    "porque si sin sobre todo todos esta este esto eso esa también nunca siempre usted puede puedo quiero a o mucho nada "
    "cuando hacer",
    "pt": "o os as de do da dos das um uma e é em que não se por com para seu sua ao à mais como mas eu você ele ela nós eles meu "
    "minha no na nos nas muito já está estão estou são ser foi era há tem tenho quem quando onde porque sem sobre todo "
    "todos esta este isto isso também nunca sempre pode posso quero pelo pela me te lhe nada a ou fazer tom",
    "it": "il lo la i gli le di del della dei delle un una uno e è in che non si per con su al alla più come ma io tu lui lei noi "
    "voi loro mio mia tuo suo sua ho hai ha abbiamo hanno sono sei siamo essere era c'è molto già chi cosa quando dove "
    "perché se senza tutto tutti questa questo quello anche mai sempre può posso voglio da mi ti ci ne nel nella a o fare "
    "dell'",
    "ca": "el la els les de del dels un una i és en que no es per amb al més com però jo tu ell ella nosaltres meu meva seu seva "
    "molt ja està són ser va vaig era hi ha he han té tinc qui quan on perquè si sense tot tots aquesta aquest això també "
    "mai sempre pot puc vull a o què li em et ens fer l' d' aquí res",
    "gl": "o os a as de do da dos das un unha e é en que non se por con para seu súa ao á máis como pero eu ti el ela nós eles "
    "meu miña no na moi xa está están estou son ser foi era hai ten teño quen cando onde porque sen sobre todo todos esta "
    "este isto iso tamén nunca sempre pode podo quero lle me te nada ou facer",
    "ro": "și si este e nu un o de la în pe cu din pentru că ca mai ce care el ea eu tu noi ei ele voi mi îmi te se am ai are "
    "avem au sunt ești era fost fi foarte cine când unde cum dacă dar sau al ale a lui meu mea său lor acest această acesta "
    "asta toate tot niciodată întotdeauna poate pot vreau nimic face spune cât după până",
    "la": "et est in non ad ut cum sed qui quae quod ex ab de si me te se mihi tibi ego tu nos vos eius eum eam hic haec hoc ille "
    "illa sunt esse erat fuit sum es per pro sine quam nec neque aut vel enim iam quid quis ubi omnes omnia meus mea tuus "
    "suum nihil semper",
    "nl": "de het een en is van ik je hij zij ze wij we u dat die niet in op te met voor aan er zijn was om als maar ook nog naar "
    "bij uit mijn jouw haar ons hun heb hebt heeft hebben had ben bent wordt worden kan kunnen wil moet wat wie waar waarom "
    "hoe wel geen meer zo dan dit deze over tot door altijd nooit heel veel mij hem iets niets gaat doen tom",
    "af": "die 'n is het en van ek jy hy sy ons julle hulle dat nie in op te met vir aan daar was om as maar ook nog na by uit my "
    "jou haar sal kan wil moet wat wie waar hoekom hoe wel geen meer so dan dit hierdie oor tot deur altyd nooit baie hom "
    "iets gaan word wees",
    "fy": "de it in en is fan ik do hy sy wy jo dat net op te mei foar oan der wie wiene om as mar ek noch nei by út myn dyn syn "
    "har ús ha hast hat hawwe bin bist wurdt kin wol moat wat wa wêr wêrom hoe gjin mear sa dan dit dizze oer ta troch "
    "altyd nea folle",
    "sv": "och att det är en ett jag du han hon vi ni de den som inte på i med för av till har hade var så om men kan ska vill "
    "min mitt mina din hans hennes vår sig mig dig honom henne oss dem när där här vad vem varför hur från eller mycket "
    "aldrig alltid måste blir bara också efter nu denna detta dessa ingen något någon alla över ut upp vid",
    "da": "og at det er en et jeg du han hun vi i de den som ikke på med for af til har havde var så om men kan skal vil min mit "
    "mine din hans hendes vores sig mig dig ham hende os dem når hvor her hvad hvem hvorfor hvordan fra eller meget aldrig "
    "altid må bliver blev kun også efter nu denne dette disse ingen noget nogen alle over ud op ved være",
    "nb": "og å at det er en et ei jeg du han hun vi dere de den som ikke på i med for av til har hadde var så om men kan skal "
    "vil min mitt mine din hans hennes vår seg meg deg ham henne oss dem når hvor her hva hvem hvorfor hvordan fra eller "
    "mye aldri alltid må blir ble bare også etter nå denne dette disse ingen noe noen alle over ut opp ved være",
    "is": "og að það er ég þú hann hún við þið þeir þær sem ekki á í með fyrir af til hefur hafði var svo um en getur mun vil "
    "minn mín þinn hans hennar sér mig þig hana okkur þau þegar hvar hér hvað hver hvers hvernig frá eða mjög aldrei alltaf "
    "verð verður bara líka eftir nú þessi þetta enginn ekkert allir allt yfir út upp vera ertu",
    "fi": "ja on ei se hän minä sinä me te he että en oli ole olen olet ovat mutta kun jos niin kuin mitä mikä kuka missä miksi "
    "miten tämä tuo nyt vain myös hyvin aina koskaan voi voin täytyy pitää minun sinun hänen meidän minulla sinulla hänellä "
    "hänet minut kaikki mitään joka jotka tai vielä jo kanssa siellä täällä paljon tomi tom onko eivät et emme",
    "et": "ja on ei see ta ma mina sa sina me te nad et oli ole olen oled aga kui siis nagu mis kes kus miks kuidas seda nüüd "
    "ainult ka väga alati kunagi võib pean minu sinu tema meie mul sul tal kõik midagi mida või veel juba koos seal siin "
    "palju tom kas teda mind sind selle selles pole tuleb",
    "hu": "a az és nem van hogy egy ez azt én te ő mi ti ők meg is de ha csak már még volt lesz mint vagy mit ki hol miért hogyan "
    "nagyon mindig soha kell tud lehet engem téged minden semmi ezt aki ami itt ott most nekem neki velem után előtt vagyok "
    "vagyunk vannak voltam volna majd el fel be le tom tudom",
    "pl": "i w na nie się z do jest to że jak o co po za od a ale czy on ona my wy oni one ja ty mnie mi ci go jej jego ich nas "
    "był była było są być mam masz ma mamy mają tylko już jeszcze bardzo zawsze nigdy kiedy gdzie kto dlaczego może mogę "
    "chcę musi ten ta te tego tym tej dla przez przed bez wszystko nic tak tom jestem jesteś u ze",
    "cs": "a v na ne se z do je to že jak o co po za od ale on ona my vy oni já ty mě mi ti ho jí jeho její jejich nás byl byla "
    "bylo jsou být mám máš má máme mají jen už ještě velmi vždy nikdy když kde kdo proč může můžu chci musí ten ta toho tom "
    "té pro přes před bez všechno nic tak jsem jsi jsme i u si jste s není",
    "sk": "a v na nie sa z do je to že ako o čo po za od ale on ona my vy oni ja ty mňa mi ti ho jej jeho ich nás bol bola bolo "
    "sú byť mám máš má máme majú len už ešte veľmi vždy nikdy keď kde kto prečo môže môžem chcem musí ten tá tí toho tom "
    "tej pre cez pred bez všetko nič tak som si sme i u ste s",
    "sl": "in v na ne se z do je to da kot o kaj po za od ampak on ona mi vi oni jaz ti me ga njen njegov njihov nas bil bila "
    "bilo so biti imam imaš ima imamo imajo samo že še zelo vedno nikoli ko kje kdo zakaj lahko hočem mora ta te tega tem "
    "pri pred brez vse nič tako sem si smo ste bo ni kako s pa bom tudi",
    "hr": "i u na ne se s do je to da kao o što šta po za od ali on ona mi vi oni ja ti me ga njen njegov njihov nas bio bila "
    "bilo su biti imam imaš ima imamo imaju samo već još vrlo veoma uvijek uvek nikad nikada kada kad gdje gde tko ko zašto "
    "može mogu želim mora taj ta ovaj ovo toga tom pri prije bez sve ništa tako sam si smo ste će nije kako nisam li iz "
    "koji",
    "lt": "ir yra ne į kad aš tu jis ji mes jūs jie jos tai su iš ar kaip bet buvo bus būti mano tavo jo mūsų savo tik jau dar "
    "labai visada niekada kada kur kas kodėl gali galiu noriu turi turiu šis ši tas ta čia ten viskas nieko nėra per prie "
    "už nuo iki po mane jį ją man jam jai tomas esu esi",
    "lv": "un ir ne nav uz ka es tu viņš viņa mēs jūs viņi tas ar no vai kā bet bija būs būt mans mana tavs tava viņas mūsu savu "
    "tikai jau vēl ļoti vienmēr nekad kad kur kas kāpēc var varu gribu jābūt šis šī šeit tur viss neko par pie pēc līdz man "
    "tev viņam viņai mani toms esmu esi tom to",
    "sq": "e të dhe është në nuk një që për me nga unë ti ai ajo ne ju ata ato se si por apo kam ke ka kemi kanë jam je janë "
    "ishte do mund im imi ime yt tij saj tonë shumë gjithmonë kurrë kur ku kush pse çfarë kjo ky këtë tani vetëm edhe pa "
    "mbi pas para gjithçka asgjë më mos s' tom u",
    "tr": "ve bir bu ne de da için çok ben sen o biz siz onlar ile mi mı mu mü değil var yok gibi ama daha en kadar her hiç şey "
    "bana sana ona beni seni onu benim senin onun bizim nasıl neden niçin kim nerede zaman eğer sadece şimdi oldu olan "
    "olarak iyi ki ya sonra önce tom evet hayır istiyorum gerek lazım",
    "az": "və bir bu nə də da üçün çox mən sən o biz siz onlar ilə deyil var yox kimi amma daha ən qədər hər heç şey mənə sənə "
    "ona məni səni onu mənim sənin onun bizim necə niyə kim harada zaman əgər yalnız indi oldu olan yaxşı ki sonra əvvəl "
    "tom bəli xeyr",
    "uz": "va bir bu nima ham uchun juda men sen u biz siz ular bilan emas bor yo'q kabi lekin eng har hech menga senga unga meni "
    "seni uni mening sening uning bizning qanday nega kim qayerda agar faqat hozir yaxshi keyin kerak edi",
    "tk": "we bir bu näme hem üçin gaty men sen ol biz siz olar bilen däl bar ýok ýaly emma iň her hiç maňa saňa oňa meni seni "
    "ony meniň seniň onuň biziň nähili kim nirede eger diňe häzir gowy soň gerek",
    "id": "yang dan di itu ini dengan untuk tidak dari dalam akan pada saya aku kamu anda dia kami kita mereka adalah ada sudah "
    "telah bisa dapat harus ke juga karena oleh atau seperti jika apa siapa kapan mana mengapa bagaimana sangat selalu "
    "lebih hanya masih sedang sebuah orang tak bukan tom lagi semua nya mahu awak hendak boleh ialah",
    "tl": "ang ng sa na mga at ay ko mo niya si ni kay ako ikaw siya kami tayo kayo sila ito iyan iyon hindi may mayroon wala "
    "para kung pero din rin lang po ba ano sino kailan saan bakit paano napaka laging nang kanyang aking iyong namin natin "
    "nila akong gusto dapat tom isang",
    "jv": "lan ing sing ora aku kowe dheweke iki iku kuwi ana karo kanggo wis arep saka menyang apa sapa kapan ngendi kenapa piye "
    "banget uga nanging utawa yen bisa kudu kabeh mung durung dadi neng",
    "sw": "na ya wa ni kwa katika si hii hiyo huyo mimi wewe yeye sisi nyinyi wao yangu yako yake yetu kuwa kama lakini au nini "
    "nani lini wapi vipi sana daima kamwe tu pia bado alikuwa ana nina una kwamba hapa huko leo watu la za cha vya mtu",
    "vi": "là của và có không cho được trong một những các này đó tôi bạn anh chị em nó chúng ta họ với đã sẽ đang để khi nếu như "
    "thế nào gì ai đâu sao rất cũng nhưng hay hoặc từ đến ở ra vào lên xuống phải rồi nhiều người ông bà hơn mà thì tom",
    "eu": "eta da ez bat hau hori zer nor non noiz nola zergatik baina edo oso ere nire zure bere gure dut duzu du dugu dute naiz "
    "zara gara dira zen izan nahi behar dago daude daukat beti inoiz gehiago guztiak hemen han orain ni zu hura gu haiek "
    "zuen nuen",
    "ga": "an na agus tá is ní i ar go le do a bhí sé sí mé tú muid sibh siad seo sin mo bhfuil ach nó cad cé cá cathain conas "
    "cén fáth an- mhaith ag as de faoi chun gan raibh níl nach liom leat agam agat orm duit dom beidh",
    "gd": "an na agus tha is chan cha i air gu le do a bha e mi thu sinn sibh iad seo sin mo bheil ach no dè cò càit cuin ciamar "
    "carson glè aig as de fo gun robh eil nach leam agam agad ort dhut dhomh bidh anns ann",
    "cy": "y yr a ac mae yn i o ar am gan nid ddim ei ein eich eu fy dy roedd oedd bod ydy yw dw wyt hi fe chi nhw ni hwn hon "
    "hwnnw beth pwy pryd ble pam sut iawn bob byth dim ond neu os wedi gyda fod rwy rydw bydd tom yma yno sydd",
    "br": "ar an ur un a ha hag eo ez ne ket da en er gant evit war me te eñ hi ni c'hwi int ma e he hon ho o zo oa emañ bet met "
    "pe petra piv pelec'h pegoulz perak penaos kalz atav gwech ebet hennezh se tom din dit dezhañ",
    "eo": "la de kaj estas en ne mi vi li ŝi ĝi ni ili ke al por kun sed aŭ kiel kio kiu kie kiam kial tre ankaŭ nur jam ankoraŭ "
    "ĉiam neniam mia via lia ŝia nia ilia estis estos havas tiu tio ĉi oni se pli el sur pri post antaŭ sen ĝis povas volas "
    "devas ĉu ĉio neniu min lin ŝin tion kion",
    "ia": "le de e es in non que un io tu ille illa nos vos illes pro con sed o como quando ubi qui proque multo anque solmente "
    "ja mi su nostre esseva era ha habe iste isto al del sin super plus semper nunquam pote vole debe si me te se",
    "io": "la di e esas en ne me vu il el ni vi li ke a por kun ma o quale quo qua ube kande pro tre anke nur ja mea vua ilua "
    "elua nia esis esos havas ica ta on se plu ek sur pri pos ante sen til povas volas mustas kad omna nulu",
    "ku": "û di ji bo ku ne ez tu ew em hûn wan min te wî wê me we ev vî vê li bi jî an yan çi kî kengî kîjan çima çawa gelek her "
    "tim tenê heye hene bû bûn dike dikim nikare lê de da nav piştî berî",
    "kab": "d ur ad i n deg akken acu anwa anda melmi ayɣer amek aṭas yal dima kan nekk netta kečč nekni wa ta wi ti ɣer seg ɣef "
    "ara yella lliɣ tom ma neɣ mačči tura ass-a ilaq ad-d is iw ik-id yiwen ala",
    "ceb": "ang sa ug nga si ni kay ko mo niya ako ikaw siya kami kita kamo sila kini kana kadto dili wala adunay aduna naa para "
    "kung apan usab lang unsa kinsa kanus-a asa ngano giunsa kaayo kanunay iyang akong imong atong mga gikan",
    "war": "an ha ngan nga hi ni kay ko mo niya ako ikaw hiya kami kita kamo hira ini iton adto diri waray may para kun pero liwat "
    "la ano hin-o san-o hain kay-ano hinin hiton amon akon imo iya mga tikang hin",
    "xh": "kwaye ukuba ngu kwi wam wakho wakhe yam yakho yakhe ndi ndiya ndiyakuthanda mna wena yena thina nina bona le lo eli "
    "oku ayi asi hayi ewe kodwa okanye ntoni ngubani nini phi njani kakhulu zonke bonke",
}
CYRILLIC: Mapping[str, str] = {
    "ru": "и в не на я что он она с как это по но они мы вы ты к у за из от так же бы был была было были есть меня мне его её ему "
    "ей нас вас их мой твой свой этот эта эти тот где когда кто почему очень всегда никогда только уже ещё если или может "
    "могу хочу надо для без до о об том все всё ничего нет да",
    "uk": "і в не на я що він вона з як це по але вони ми ви ти до у за із від так же би був була було були є мене мені його її "
    "йому їй нас вас їх мій твій свій цей ця ці той де коли хто чому дуже завжди ніколи тільки вже ще якщо або може можу "
    "хочу треба для без про том все нічого немає та й щоб",
    "be": "і ў не на я што ён яна з як гэта па але яны мы вы ты да у за ад так жа бы быў была было былі ёсць мяне мне яго яе яму "
    "ёй нас вас іх мой твой свой гэты гэтая гэтыя той дзе калі хто чаму вельмі заўсёды ніколі толькі ўжо яшчэ або можа магу "
    "хачу трэба для без пра том усё нічога няма",
    "bg": "и в не на аз че той тя с как това по но те ние вие ти към у за от така ли бих беше бяха е са съм си мен ми го ѝ му ги "
    "нас вас им мой твой свой този тази тези къде кога кой защо много винаги никога само вече още ако или може мога искам "
    "трябва да без до том всичко нищо няма ще се какво",
    "mk": "и во не на јас дека тој таа со како ова по но тие ние вие ти кон у за од така ли би беше беа е се сум си мене ми го му "
    "ги нас вас им мој твој свој овој оваа овие каде кога кој зошто многу секогаш никогаш само веќе уште ако или може можам "
    "сакам треба да без до том сè ништо нема ќе што ја",
    "sr": "и у не на ја да он она с са као ово то по али они ми ви ти к за од из тако ли бих био била било били је су сам си мене "
    "га му их нас вас мој твој свој овај ова ови где када кад ко зашто врло веома увек никад никада само већ још ако или "
    "може могу желим мора без до том све ништа нема ће се што шта није",
    "kk": "және бұл мен сен ол біз сіз олар үшін емес бар жоқ бірақ өте не кім қайда қашан неге қалай менің сенің оның біздің "
    "маған саған оған әр ең да де деп осы сол бір болды керек том тек енді",
    "tt": "һәм бу мин син ул без сез алар өчен түгел бар юк ләкин бик нәрсә кем кайда кайчан нигә ничек минем синең аның безнең "
    "миңа сиңа аңа һәр иң дә да дип бер булды кирәк том гына инде",
    "mn": "бол нь энэ би чи тэр бид та тэд байна байсан биш үгүй болон гэж гэсэн юу хэн хаана хэзээ яагаад яаж миний чиний түүний "
    "бидний надад чамд маш их бүх л ч дээр дотор том хэрэгтэй",
}
ARABIC: Mapping[str, str] = {
    "ar": "في من على أن هذا هذه لا ما إلى هو هي كان مع عن لم لن قد كل أنا أنت نحن هم هل ماذا متى أين لماذا كيف التي الذي ذلك بعد "
    "قبل عند لقد لكن إذا أو ليس كنت يا توم جدا لي له لها",
    "fa": "و در به از که این آن را با است برای من تو او ما شما آنها نه هم یک هر تا اگر یا اما خیلی همیشه هرگز چه کی کجا چرا چطور "
    "بود هست هستم شد می نمی باید دارم دارد داشت تام خود کرد کنم",
    "ur": "کے کا کی میں ہے اور سے کو نے یہ وہ نہیں ہیں پر تھا تھی ہوں مجھے تم آپ ہم اس ان کیا کون کب کہاں کیوں کیسے بہت ہمیشہ "
    "کبھی لیے بھی ہی تو جو کر رہا رہی رہے گا ٹام میرا",
    "ug": "ۋە بۇ مەن سەن ئۇ بىز سىز ئۇلار بىلەن ئۈچۈن ئەمەس بار يوق بەك نېمە كىم قاچان نەدە نېمىشقا قانداق مېنىڭ سېنىڭ ئۇنىڭ بىر "
    "بولدى كېرەك دەپ",
    "ckb": "و لە بە بۆ کە ئەم ئەو من تۆ ئێمە ئێوە ئەوان نیە هەیە نا زۆر چی کێ کەی کوێ بۆچی چۆن هەموو یەک دەبێت لەگەڵ",
}
DEVANAGARI: Mapping[str, str] = {
    "hi": "है हैं का की के में को से ने और यह वह नहीं मैं तुम हम था थी कि पर भी क्या मुझे",
    "mr": "आहे आहेत चा ची चे मध्ये ला आणि हा ही हे ते नाही मी तू आम्ही होता होती की पण काय मला तो",
    "ne": "छ छन् को मा लाई र यो त्यो होइन म तिमी हामी थियो कि पनि के मलाई",
    "awa": "अहै हय बा रहा का के मा से ई ऊ नाहीं हम तू कि पर भी",
}
